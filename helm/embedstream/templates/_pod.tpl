{{/* The worker's container, as far as the test's is like it: a dict of context, name and args. */}}
{{- define "embedstream.container" -}}
name: {{ .name }}
image: {{ include "embedstream.image" .context | quote }}
imagePullPolicy: {{ .context.Values.image.pullPolicy }}
args: {{ toJson .args }}
{{- with .context.Values.extraEnv }}
env:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .context.Values.extraEnvFrom }}
envFrom:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .context.Values.securityContext }}
securityContext:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .context.Values.resources }}
resources:
  {{- toYaml . | nindent 2 }}
{{- end }}
volumeMounts:
  - name: config
    mountPath: {{ include "embedstream.configPath" .context | dir }}
    readOnly: true
  {{- if include "embedstream.apiKeySecret" .context }}
  # The whole folder: a single file (subPath) would never see a rotated key.
  - name: api-key
    mountPath: {{ include "embedstream.apiKeyPath" .context | dir }}
    readOnly: true
  {{- end }}
  - name: tmp
    mountPath: /tmp
  {{- with .context.Values.extraVolumeMounts }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end -}}

{{/* What the worker's pod and the test's share. */}}
{{- define "embedstream.podBase" -}}
serviceAccountName: {{ include "embedstream.serviceAccountName" . | quote }}
automountServiceAccountToken: {{ .Values.serviceAccount.automount }}
enableServiceLinks: false
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.podSecurityContext }}
securityContext:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.runtimeClassName }}
runtimeClassName: {{ . | quote }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
volumes:
  - name: config
    configMap:
      name: {{ include "embedstream.fullname" . | quote }}
  {{- with include "embedstream.apiKeySecret" . }}
  - name: api-key
    secret:
      secretName: {{ . | quote }}
      {{- if (default dict $.Values.podSecurityContext).fsGroup }}
      # For root and fsGroup only. Without fsGroup it would be root's alone, and the worker is somebody else.
      defaultMode: 0440
      {{- end }}
      items:
        - key: {{ ternary "api-key" $.Values.apiKey.existingSecret.key (not (empty $.Values.apiKey.value)) | quote }}
          path: {{ include "embedstream.apiKeyPath" $ | base }}
  {{- end }}
  - name: tmp
    emptyDir:
      sizeLimit: 64Mi
  {{- with .Values.extraVolumes }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end -}}

{{/*
The pod template of Deployment and Job. It changes only with what the pod runs: no version of the chart, no replicas, no monitors.
A dict of context, args and, for a Job, restartPolicy.
*/}}
{{- define "embedstream.podTemplate" -}}
{{- $port := include "embedstream.port" .context -}}
metadata:
  annotations:
    checksum/config: {{ include "embedstream.settings" .context | sha256sum | quote }}
    {{- with .context.Values.apiKey.value }}
    checksum/secret: {{ sha256sum . | quote }}
    {{- end }}
    {{- with .context.Values.podAnnotations }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  labels:
    {{- merge (include "embedstream.selectorLabels" .context | fromYaml) (default dict .context.Values.podLabels) | toYaml | nindent 4 }}
spec:
  {{- include "embedstream.podBase" .context | nindent 2 }}
  {{- with .restartPolicy }}
  restartPolicy: {{ . }}
  {{- end }}
  {{- with .context.Values.priorityClassName }}
  priorityClassName: {{ . | quote }}
  {{- end }}
  {{- with .context.Values.affinity }}
  affinity:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .context.Values.topologySpreadConstraints }}
  topologySpreadConstraints:
    {{- $selector := dict "labelSelector" (dict "matchLabels" (include "embedstream.selectorLabels" $.context | fromYaml)) }}
    {{- range . }}
    - {{ merge (deepCopy .) $selector | toYaml | nindent 6 | trim }}
    {{- end }}
  {{- end }}
  terminationGracePeriodSeconds: {{ int64 .context.Values.terminationGracePeriodSeconds }}
  {{- with .context.Values.initContainers }}
  initContainers:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  containers:
    - {{ include "embedstream.container" (dict "context" .context "name" "embedstream" "args" .args) | nindent 6 | trim }}
      {{- if $port }}
      ports:
        - name: admin
          containerPort: {{ $port }}
          protocol: TCP
      {{- $paths := dict "startupProbe" "/livez" "livenessProbe" "/livez" "readinessProbe" "/readyz" }}
      {{- range $probe := list "startupProbe" "livenessProbe" "readinessProbe" }}
      {{- with get $.context.Values $probe }}
      {{ $probe }}:
        httpGet:
          path: {{ get $paths $probe }}
          port: admin
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- end }}
      {{- end }}
    {{- with .context.Values.sidecars }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
{{- end -}}

{{/* The pod template of the Job, and the Job's name, which carries its hash. */}}
{{- define "embedstream.jobTemplate" -}}
{{- $args := concat (list "run" "--config" (include "embedstream.configPath" .) "--until-end") (default list .Values.job.args) -}}
{{- include "embedstream.podTemplate" (dict "context" . "args" $args "restartPolicy" "Never") -}}
{{- end -}}

{{- define "embedstream.jobName" -}}
{{- include "embedstream.named" (list . (include "embedstream.jobTemplate" . | sha256sum | trunc 8)) -}}
{{- end -}}
