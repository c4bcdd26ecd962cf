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
