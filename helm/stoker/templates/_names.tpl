{{- define "stoker.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end }}

{{/* Start of the names of the release's objects. Names that the client reads are fixed: stoker-profile and others. */}}
{{- define "stoker.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{ .Values.fullnameOverride }}
{{- else if and .Values.nameOverride (not (contains .Values.nameOverride .Release.Name)) -}}
{{ printf "%s-%s" .Release.Name .Values.nameOverride | trunc 53 | trimSuffix "-" }}
{{- else -}}
{{ .Release.Name }}
{{- end -}}
{{- end }}

{{- define "stoker.mlflow" -}}
{{ include "stoker.fullname" . }}-mlflow
{{- end }}

{{/* Labels by which the pods of a component are selected, of (dict "root" $ "component" NAME). A Deployment's can never change. */}}
{{- define "stoker.selectorLabels" -}}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{/* Labels of pods, of the same dict. Without versions, which would replace all pods at each new version of the chart. */}}
{{- define "stoker.podLabels" -}}
app.kubernetes.io/name: {{ .root.Values.nameOverride | default "stoker" }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
{{ include "stoker.selectorLabels" . }}
{{- with .root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* Labels of other objects. */}}
{{- define "stoker.labels" -}}
app.kubernetes.io/name: {{ .Values.nameOverride | default "stoker" }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version | replace "+" "_" }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* Namespace and labels of an object. */}}
{{- define "stoker.metadata" -}}
namespace: {{ .Release.Namespace }}
labels:
  {{- include "stoker.labels" . | nindent 2 }}
{{- end }}

{{- define "stoker.trackingUri" -}}
http://{{ include "stoker.mlflow" . }}.{{ .Release.Namespace }}:5000
{{- end }}

{{- define "stoker.login" -}}
{{ .Values.mlflow.auth.existingSecret | default (printf "%s-login" (include "stoker.mlflow" .)) }}
{{- end }}

{{/* The login of runs and submitters, which may not administer MLflow. */}}
{{- define "stoker.runsLogin" -}}
{{ .Values.mlflow.auth.existingRunsSecret | default (printf "%s-runs-login" (include "stoker.mlflow" .)) }}
{{- end }}

{{/* The claim of the checkpoint volume; empty if a bucket is used instead. */}}
{{- define "stoker.storageClaim" -}}
{{- if not .Values.jobs.storage.s3 -}}
{{ .Values.jobs.storage.volume.existingClaim | default (printf "%s-runs" (include "stoker.fullname" .)) }}
{{- end -}}
{{- end }}

{{/* The claim of MLflow's volume; empty if a database and a bucket are used instead. */}}
{{- define "stoker.mlflowClaim" -}}
{{- if not (and .Values.mlflow.backendStore.existingSecret .Values.mlflow.artifacts.s3) -}}
{{ .Values.mlflow.volume.existingClaim | default (include "stoker.mlflow" .) }}
{{- end -}}
{{- end }}

{{/* All host names of the server in the cluster, with and without the port, which MLflow compares, too. */}}
{{- define "stoker.allowedHosts" -}}
{{- $name := include "stoker.mlflow" . -}}
{{- $hosts := list "localhost:*" "127.0.0.1:*" -}}
{{- $inside := list $name (printf "%s.%s" $name .Release.Namespace) (printf "%s.%s.svc" $name .Release.Namespace) (printf "%s.%s.svc.cluster.local" $name .Release.Namespace) -}}
{{- range $host := $inside -}}
{{- $hosts = concat $hosts (list $host (printf "%s:5000" $host)) -}}
{{- end -}}
{{- if .Values.mlflow.ingress.enabled -}}
{{- $hosts = concat $hosts (list .Values.mlflow.ingress.host (printf "%s:443" .Values.mlflow.ingress.host)) -}}
{{- end -}}
{{- join "," (concat $hosts .Values.mlflow.allowedHosts) -}}
{{- end }}

{{/* The version of Kueue's API that the cluster serves; empty without Kueue. */}}
{{- define "stoker.kueue" -}}
{{- if .Capabilities.APIVersions.Has "kueue.x-k8s.io/v1beta2" -}}
kueue.x-k8s.io/v1beta2
{{- else if .Capabilities.APIVersions.Has "kueue.x-k8s.io/v1beta1" -}}
kueue.x-k8s.io/v1beta1
{{- end -}}
{{- end }}
