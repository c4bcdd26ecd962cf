{{- define "balancer.labels" -}}
app.kubernetes.io/name: balancer-agent
app.kubernetes.io/part-of: balancer
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- define "balancer.selector" -}}
app.kubernetes.io/name: balancer-agent
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{/* The image: a digest says exactly which, whatever the tag. */}}
{{- define "balancer.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end }}

{{/* Where the agent answers probes: config.healthzBindAddress, else the agent's default. */}}
{{- define "balancer.healthz" -}}
{{ (.Values.config).healthzBindAddress | default "0.0.0.0:10356" }}
{{- end }}

{{/* Where agents hear each other: the port of config.peerBindAddress, else the agent's default. */}}
{{- define "balancer.peersPort" -}}
{{ (.Values.config).peerBindAddress | default "0.0.0.0:10357" | regexFind "[0-9]+$" }}
{{- end }}

{{- define "balancer.healthzPort" -}}
{{ include "balancer.healthz" . | regexFind "[0-9]+$" }}
{{- end }}

{{/* Where kubelet asks: at the loopback where the agent listens at every address. */}}
{{- define "balancer.healthzHost" -}}
{{- $host := include "balancer.healthz" . | regexFind "^.*:" | trimSuffix ":" | trimAll "[]" -}}
{{- if eq $host "0.0.0.0" -}}
127.0.0.1
{{- else if eq $host "::" -}}
::1
{{- else -}}
{{ $host }}
{{- end -}}
{{- end }}

{{/* Labels of the pods: those of the chart, by which the DaemonSet finds its pods, and podLabels. */}}
{{- define "balancer.podLabels" -}}
{{- $own := include "balancer.labels" . | fromYaml -}}
{{- range $name, $_ := .Values.podLabels -}}
{{- if hasKey $own $name -}}
{{- fail (printf "podLabels: %s is a label of the chart itself, by which its pods are found: take it out, or use another name" $name) -}}
{{- end -}}
{{- end -}}
{{ toYaml (merge $own .Values.podLabels) }}
{{- end }}

{{/* Annotations of the pods. A change of the settings rolls the agents out. */}}
{{- define "balancer.podAnnotations" -}}
{{- if hasKey .Values.podAnnotations "balancer-agent/config" -}}
{{- fail "podAnnotations: balancer-agent/config is an annotation of the chart itself, which rolls the agents out: take it out, or use another name" -}}
{{- end -}}
{{ toYaml (merge (dict "balancer-agent/config" (toYaml .Values.config | sha256sum)) .Values.podAnnotations) }}
{{- end }}
