{{/* The chart's name, or what takes its place. */}}
{{- define "embedstream.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{/* Release and chart, as in other charts: a release that has the chart's name in its own stands alone. */}}
{{- define "embedstream.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 63 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/*
The full name and a word: a list of context and word. The name gives way, so that the word stays whole. A release's name has at most 53
characters; a word of at most nine leaves all of them.
*/}}
{{- define "embedstream.named" -}}
{{- $word := last . -}}
{{- include "embedstream.fullname" (first .) | trunc (int (sub 62 (len $word))) | trimSuffix "-" }}-{{ $word -}}
{{- end -}}

{{/* A Service's name begins with a letter and has no dots (before Kubernetes 1.34), though a release's may be 1.2. */}}
{{- define "embedstream.serviceName" -}}
{{- $name := include "embedstream.named" (list . "metrics") | replace "." "-" -}}
{{- if regexMatch "^[0-9]" $name -}}
{{- $name = printf "metrics-%s" (trimSuffix "-metrics" $name) -}}
{{- end -}}
{{- $name -}}
{{- end -}}

{{- define "embedstream.serviceAccountName" -}}
{{- $own := ternary (include "embedstream.fullname" .) "default" .Values.serviceAccount.create -}}
{{- default $own .Values.serviceAccount.name -}}
{{- end -}}

{{/* What selectors hold, as text, for a release may be called 123: a change of anything else must not orphan pods. */}}
{{- define "embedstream.selectorLabels" -}}
app.kubernetes.io/name: {{ include "embedstream.name" . | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end -}}

{{/* The test's pod has another name, or selectors would take it for a worker. */}}
{{- define "embedstream.checkLabels" -}}
app.kubernetes.io/name: {{ printf "%s-check" (include "embedstream.name" . | trunc 57) | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end -}}

{{/* The labels of every object but pods, which would restart with each new version of the chart. */}}
{{- define "embedstream.labels" -}}
{{- $own := include "embedstream.selectorLabels" . | fromYaml -}}
{{- $_ := set $own "app.kubernetes.io/managed-by" .Release.Service -}}
{{- $_ := set $own "app.kubernetes.io/version" (.Chart.AppVersion | replace "+" "_" | trunc 63 | trimAll "-_.") -}}
{{- $_ := set $own "helm.sh/chart" (printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimAll "-_.") -}}
{{- toYaml (merge $own (default dict .Values.commonLabels)) -}}
{{- end -}}

{{/* A list of context and more labels, which do not take the place of the chart's. */}}
{{- define "embedstream.labelsWith" -}}
{{- toYaml (merge (include "embedstream.labels" (first .) | fromYaml) (default dict (last .))) -}}
{{- end -}}

{{- define "embedstream.image" -}}
{{- $tag := default .Chart.AppVersion .Values.image.tag -}}
{{- .Values.image.repository }}{{ ternary (printf "@%s" .Values.image.digest) (printf ":%s" $tag) (not (empty .Values.image.digest)) -}}
{{- end -}}
