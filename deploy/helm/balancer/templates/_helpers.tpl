{{/* The label by which the pods are found, and the name of everything else unless overridden. */}}
{{- define "balancer.name" -}}
{{ .Values.nameOverride | default "balancer-agent" }}
{{- end }}

{{- define "balancer.fullname" -}}
{{ .Values.fullnameOverride | default (include "balancer.name" .) }}
{{- end }}

{{- define "balancer.serviceAccount" -}}
{{- if and (not .Values.serviceAccount.create) (not .Values.serviceAccount.name) -}}
{{- fail "serviceAccount.create is false: name an account in serviceAccount.name that has the rights of templates/rbac.yaml" -}}
{{- end -}}
{{ .Values.serviceAccount.name | default (include "balancer.fullname" .) }}
{{- end }}

{{/* The Service by which agents find each other, and the Secret with their key. */}}
{{- define "balancer.peers" -}}
{{ include "balancer.fullname" . }}-peers
{{- end }}

{{- define "balancer.labels" -}}
app.kubernetes.io/name: {{ include "balancer.name" . }}
{{ include "balancer.commonLabels" . }}
{{- end }}

{{- define "balancer.commonLabels" -}}
app.kubernetes.io/part-of: balancer
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- define "balancer.selector" -}}
app.kubernetes.io/name: {{ include "balancer.name" . }}
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

{{/* Where Prometheus asks: config.metricsBindAddress, else every address of the node. */}}
{{- define "balancer.metrics" -}}
{{- $address := (.Values.config).metricsBindAddress | default "0.0.0.0:10349" -}}
{{- if or (hasPrefix "127." $address) (hasPrefix "[::1]" $address) -}}
{{- fail (printf "prometheus.podMonitor.enabled: Prometheus can't reach config.metricsBindAddress %s: take that out, or give an address that other nodes reach" $address) -}}
{{- end -}}
{{ $address }}
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

{{/* Where pods of the chart run: on every node, unless told otherwise. */}}
{{- define "balancer.placement" -}}
priorityClassName: {{ .Values.priorityClassName }}
{{- with .Values.tolerations }}
tolerations:
{{- toYaml . | nindent 0 }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* What a process that only looks, or waits, may do. */}}
{{- define "balancer.unprivileged" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{/* A container that takes balancer out of the kernel of its node. */}}
{{- define "balancer.cleanup" -}}
image: {{ include "balancer.image" . | quote }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
securityContext:
  runAsUser: 0
  runAsGroup: 0
  privileged: false
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities:
    drop: [ALL]
    # SYS_ADMIN for the default seccomp profiles that know bpf() by no other.
    add: [BPF, NET_ADMIN, PERFMON, SYS_ADMIN]
  seccompProfile:
    type: RuntimeDefault
  appArmorProfile:
    type: Unconfined
  seLinuxOptions:
    type: spc_t
resources:
  requests:
    cpu: 10m
    memory: 16Mi
  limits:
    memory: 128Mi
volumeMounts:
- name: bpffs
  mountPath: /sys/fs/bpf
  mountPropagation: HostToContainer
- name: run
  mountPath: /run/balancer
{{- end }}

{{/* Where the agent had its pins and its socket. */}}
{{- define "balancer.cleanupPlaces" -}}
{{- with (.Values.config).bpffs }}
- --bpffs={{ . }}
{{- end }}
{{- with (.Values.config).socket }}
- --socket={{ . }}
{{- end }}
{{- end }}
