{{/* Common fields of all pods: they satisfy the level "restricted", with a user id that no node uses. */}}
{{- define "stoker.pod" -}}
{{ include "stoker.podWith" (dict "root" . "securityContext" dict) }}
{{- end }}

{{/* The same with a security context merged over the chart's, of (dict "root" $ "securityContext" MAP). */}}
{{- define "stoker.podWith" -}}
{{- $safe := dict "runAsNonRoot" true "runAsUser" 10001 "runAsGroup" 10001 "fsGroup" 10001 "fsGroupChangePolicy" "OnRootMismatch" "seccompProfile" (dict "type" "RuntimeDefault") -}}
automountServiceAccountToken: false
enableServiceLinks: false
securityContext: {{- mergeOverwrite $safe .securityContext | toYaml | nindent 2 }}
{{- with .root.Values.image.pullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* Image and security context of all containers. */}}
{{- define "stoker.container" -}}
{{ include "stoker.containerWith" (dict "root" . "securityContext" dict) }}
{{- end }}

{{/* The same with a security context merged over the chart's, of (dict "root" $ "securityContext" MAP). */}}
{{- define "stoker.containerWith" -}}
{{- $safe := dict "allowPrivilegeEscalation" false "readOnlyRootFilesystem" true "capabilities" (dict "drop" (list "ALL")) -}}
image: {{ include "stoker.image" .root }}
imagePullPolicy: {{ .root.Values.image.pullPolicy }}
securityContext: {{- mergeOverwrite $safe .securityContext | toYaml | nindent 2 }}
{{- end }}

{{/* The login of runs as files that become variables, named as MLflow's client expects. */}}
{{- define "stoker.loginFiles" -}}
secret:
  name: {{ include "stoker.runsLogin" . }}
  items:
    - {key: MLFLOW_TRACKING_USERNAME, path: MLFLOW_TRACKING_USERNAME}
    - {key: MLFLOW_TRACKING_PASSWORD, path: MLFLOW_TRACKING_PASSWORD}
{{- end }}

{{/* A service account token as automounted by Kubernetes, for a single pod. */}}
{{- define "stoker.token" -}}
projected:
  sources:
    - serviceAccountToken: {path: token, expirationSeconds: 3600}
    - configMap: {name: kube-root-ca.crt, items: [{key: ca.crt, path: ca.crt}]}
    - downwardAPI: {items: [{path: namespace, fieldRef: {fieldPath: metadata.namespace}}]}
{{- end }}

{{/* Resources of a Ray pod. Requests equal limits, since Ray schedules by the limits. */}}
{{- define "stoker.share" -}}
{{- $amount := dict "cpu" (toString .cpus) "memory" (replace "iB" "i" .memory) }}
{{- if .gpus }}{{ $_ := set $amount "nvidia.com/gpu" (int .gpus) }}{{ end -}}
requests: {{ toJson $amount }}
limits: {{ toJson $amount }}
{{- end }}
