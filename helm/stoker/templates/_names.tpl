{{- define "stoker.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}

{{- define "stoker.labels" -}}
app.kubernetes.io/name: stoker
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- define "stoker.mlflow" -}}
{{ .Release.Name }}-mlflow
{{- end }}

{{- define "stoker.login" -}}
{{ .Values.mlflow.auth.existingSecret | default (printf "%s-login" (include "stoker.mlflow" .)) }}
{{- end }}

{{/* Every name by which the server is reached in the cluster: MLflow compares the port, too. */}}
{{- define "stoker.allowedHosts" -}}
{{- $name := include "stoker.mlflow" . -}}
{{- $hosts := list "localhost:*" "127.0.0.1:*" -}}
{{- range $host := list $name (printf "%s.%s" $name .Release.Namespace) (printf "%s.%s.svc" $name .Release.Namespace) (printf "%s.%s.svc.cluster.local" $name .Release.Namespace) -}}
{{- $hosts = concat $hosts (list $host (printf "%s:5000" $host)) -}}
{{- end -}}
{{- join "," (concat $hosts .Values.mlflow.allowedHosts) -}}
{{- end }}
