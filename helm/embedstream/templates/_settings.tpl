{{/* Where the pod finds the settings and the key. */}}
{{- define "embedstream.configPath" -}}/etc/embedstream/config/config.yaml{{- end -}}
{{- define "embedstream.apiKeyPath" -}}/etc/embedstream/api-key/api-key{{- end -}}

{{/* The Secret of the provider's key; empty: there is none. */}}
{{- define "embedstream.apiKeySecret" -}}
{{- if .Values.apiKey.value -}}
{{- include "embedstream.named" (list . "api-key") -}}
{{- else -}}
{{- .Values.apiKey.existingSecret.name -}}
{{- end -}}
{{- end -}}

{{/* The worker's settings: what is written, over the chart's few defaults. Also what checksum/config is over. */}}
{{- define "embedstream.settings" -}}
{{- $settings := deepCopy (default dict .Values.config) -}}
{{- include "embedstream.withoutNulls" (list $settings "") -}}
{{- $admin := default dict $settings.admin -}}
{{- if not (hasKey $admin "listen") -}}
{{- $_ := set $admin "listen" "0.0.0.0:9464" -}}
{{- end -}}
{{- $provider := default dict $settings.provider -}}
{{- $_ := unset $provider "api_key" -}}
{{- if not (trim (default "" $provider.api_key_file)) -}}
{{- $_ := unset $provider "api_key_file" -}}
{{- if include "embedstream.apiKeySecret" . -}}
{{- $_ := set $provider "api_key_file" (include "embedstream.apiKeyPath" .) -}}
{{- end -}}
{{- end -}}
{{- $_ := set $settings "admin" $admin -}}
{{- if $provider -}}
{{- $_ := set $settings "provider" $provider -}}
{{- end -}}
{{- toYaml $settings -}}
{{- end -}}

{{/* Takes nulls out of a map, in place: a list of the map and its path. In provider.body they mean something. */}}
{{- define "embedstream.withoutNulls" -}}
{{- $map := first . -}}
{{- $path := last . -}}
{{- range $name, $value := $map -}}
{{- $here := printf "%s/%s" $path $name -}}
{{- if kindIs "invalid" $value -}}
{{- $_ := unset $map $name -}}
{{- else if and (kindIs "map" $value) (ne $here "/provider/body") -}}
{{- include "embedstream.withoutNulls" (list $value $here) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/*
What the worker will see of one setting: a list of context, section (empty: none) and key. A variable of extraEnv comes before config.
Lists become text with commas. A variable whose value the chart cannot know gives `(extraEnv)`.
*/}}
{{- define "embedstream.setting" -}}
{{- $context := index . 0 -}}
{{- $section := index . 1 -}}
{{- $key := index . 2 -}}
{{- $settings := include "embedstream.settings" $context | fromYaml -}}
{{- if $section -}}
{{- $settings = default dict (get $settings $section) -}}
{{- end -}}
{{- $value := get $settings $key -}}
{{- $variable := printf "EMBEDSTREAM__%s" (list $section $key | compact | join "__" | upper) -}}
{{- range $context.Values.extraEnv -}}
{{- if eq .name $variable -}}
{{- $value = include "embedstream.variable" (list $context $variable) -}}
{{- end -}}
{{- end -}}
{{- if kindIs "slice" $value -}}
{{- $value = join "," $value -}}
{{- else if hasPrefix "[" (toString $value) -}}
{{/* A list in a variable, ["a", "b"]. An address with an IPv6 in brackets is none. */}}
{{- if not (regexMatch "^\\[[0-9A-Fa-f:.%]+\\]:" $value) -}}
{{- $value = regexReplaceAll "[\\[\\]\"' ]" $value "" -}}
{{- end -}}
{{- end -}}
{{- toString $value | trim -}}
{{- end -}}

{{/* The value of a variable of extraEnv: a list of context and name. One that comes from elsewhere gives `(extraEnv)`. */}}
{{- define "embedstream.variable" -}}
{{- $value := "" -}}
{{- range (first .).Values.extraEnv -}}
{{- if eq .name (last $) -}}
{{- $text := toString (default "" .value) -}}
{{- $value = ternary "(extraEnv)" $text (or (hasKey . "valueFrom") (regexMatch "\\$\\([A-Za-z_]" $text)) -}}
{{- end -}}
{{- end -}}
{{- $value -}}
{{- end -}}

{{/* Where the admin server listens; empty: nowhere. */}}
{{- define "embedstream.listen" -}}
{{- include "embedstream.setting" (list . "admin" "listen") -}}
{{- end -}}

{{/* Its port; empty: there is none. */}}
{{- define "embedstream.port" -}}
{{- include "embedstream.listen" . | regexFind "[0-9]+$" -}}
{{- end -}}

{{/* The seconds of a duration as the worker reads it: `25s`, `1m 30s`, `0.5 min`. */}}
{{- define "embedstream.seconds" -}}
{{- $units := dict
  "nanos" 0.000000001 "nsec" 0.000000001 "ns" 0.000000001
  "usec" 0.000001 "us" 0.000001 "µs" 0.000001
  "millis" 0.001 "msec" 0.001 "ms" 0.001
  "seconds" 1 "second" 1 "secs" 1 "sec" 1 "s" 1
  "minutes" 60 "minute" 60 "mins" 60 "min" 60 "m" 60
  "hours" 3600 "hour" 3600 "hrs" 3600 "hr" 3600 "h" 3600
  "days" 86400 "day" 86400 "d" 86400
  "weeks" 604800 "week" 604800 "wks" 604800 "wk" 604800 "w" 604800
  "months" 2630016 "month" 2630016 "M" 2630016
  "years" 31557600 "year" 31557600 "yrs" 31557600 "yr" 31557600 "y" 31557600
-}}
{{- $seconds := 0.0 -}}
{{- range regexFindAll "[0-9.]+[a-zA-Zµ]+" (regexReplaceAll "\\s" . "") -1 -}}
{{- $unit := regexFind "[a-zA-Zµ]+" . -}}
{{- $seconds = addf $seconds (mulf (float64 (trimSuffix $unit .)) (default 0 (get $units $unit))) -}}
{{- end -}}
{{- $seconds -}}
{{- end -}}

{{/*
The ports of brokers and provider, as a YAML list: host, host:port, PROTOCOL://host:port, [::1]:port; http://host, HTTPS://host:port.
What a variable takes from elsewhere is not known and gives none.
*/}}
{{- define "embedstream.egressPorts" -}}
{{- $ports := list -}}
{{- $brokers := include "embedstream.setting" (list . "kafka" "brokers") -}}
{{- if ne $brokers "(extraEnv)" -}}
{{- range splitList "," $brokers -}}
{{- $ports = append $ports (regexFind ":[0-9]+$" (trim .) | trimPrefix ":" | default "9092") -}}
{{- end -}}
{{- end -}}
{{- $url := include "embedstream.setting" (list . "provider" "url") | lower -}}
{{- if ne $url "(extraenv)" -}}
{{- $written := regexFind ":[0-9]+$" (regexFind "^[a-z]+://[^/?#]+" $url) | trimPrefix ":" -}}
{{- $ports = append $ports (default (ternary "80" "443" (hasPrefix "http://" $url)) $written) -}}
{{- end -}}
{{- toYaml ($ports | uniq | sortAlpha) -}}
{{- end -}}

{{/*
A setting of librdkafka, as the consumer has it: a list of context and dotted name. Empty: none is written. It can be written in parts, and by
a variable.
*/}}
{{- define "embedstream.clientSetting" -}}
{{- $context := first . -}}
{{- $name := last . -}}
{{- $kafka := default dict (get (include "embedstream.settings" $context | fromYaml) "kafka") -}}
{{- $value := "" -}}
{{- range $section := list "client" "consumer" -}}
{{- $value = default $value (include "embedstream.dotted" (list (default dict (get $kafka $section)) $name)) -}}
{{- $variable := printf "EMBEDSTREAM__KAFKA__%s__%s" (upper $section) ($name | replace "." "_" | upper) -}}
{{- $value = default $value (include "embedstream.variable" (list $context $variable)) -}}
{{- end -}}
{{- trim $value -}}
{{- end -}}

{{/* What a map holds under a dotted name, however it is divided: a list of the map and the name. A whole number is written as one. */}}
{{- define "embedstream.dotted" -}}
{{- $name := last . -}}
{{- range $key, $value := first . -}}
{{- if and (eq $key $name) (kindIs "float64" $value) -}}
{{- printf "%.0f" $value -}}
{{- else if eq $key $name -}}
{{- toString $value -}}
{{- else if and (kindIs "map" $value) (hasPrefix (printf "%s." $key) $name) -}}
{{- include "embedstream.dotted" (list $value (trimPrefix (printf "%s." $key) $name)) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* The consumer's security.protocol in upper case; empty: none is written. */}}
{{- define "embedstream.securityProtocol" -}}
{{- include "embedstream.clientSetting" (list . "security.protocol") | upper -}}
{{- end -}}

{{/* The bytes of a size as the worker reads it: `64MiB`, `10 MB`, `1048576`. And of a quantity as Kubernetes does: `512Mi`, `1.5G`, `129e6`. */}}
{{- define "embedstream.size" -}}
{{- $units := dict "kib" 1024 "mib" 1048576 "gib" 1073741824 "tib" 1099511627776 "ki" 1024 "mi" 1048576 "gi" 1073741824
  "kb" 1000 "mb" 1000000 "gb" 1000000000 "tb" 1000000000000 -}}
{{- include "embedstream.amount" (list (lower .) $units) -}}
{{- end -}}
{{- define "embedstream.quantity" -}}
{{- $units := dict "Ki" 1024 "Mi" 1048576 "Gi" 1073741824 "Ti" 1099511627776 "Pi" 1125899906842624
  "m" 0.001 "k" 1000 "M" 1000000 "G" 1000000000 "T" 1000000000000 "P" 1000000000000000 -}}
{{- include "embedstream.amount" (list . $units) -}}
{{- end -}}
{{- define "embedstream.amount" -}}
{{- $number := regexFind "^[0-9.]+([eE][+-]?[0-9]+)?" (trim (first .)) -}}
{{- mulf (float64 $number) (default 1 (get (last .) (trim (trimPrefix $number (trim (first .)))))) -}}
{{- end -}}

{{/* Whether no pod at all is as it should be: there is a Job, which ends, KEDA goes down to 0, or 0 are asked for. */}}
{{- define "embedstream.mayBeNone" -}}
{{- $count := .Values.replicaCount -}}
{{- $none := not (or .Values.autoscaling.enabled .Values.keda.enabled (kindIs "invalid" $count) (int $count)) -}}
{{- if or .Values.job.enabled (and .Values.keda.enabled (eq (int .Values.keda.minReplicas) 0)) $none -}}true{{- end -}}
{{- end -}}

{{/* The alerts that are left out, as a YAML list. */}}
{{- define "embedstream.disabledAlerts" -}}
{{- $disabled := default list .Values.prometheusRule.disabled -}}
{{- if include "embedstream.mayBeNone" . -}}
{{- range $idle := list "EmbedstreamNotConsuming" "EmbedstreamDown" -}}
{{- if not (has $idle (default list $.Values.prometheusRule.kept)) -}}
{{- $disabled = append $disabled $idle -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- toYaml (uniq $disabled) -}}
{{- end -}}

{{/*
The jobs that the release's monitors make, as a YAML list; what the Prometheus Operator calls them. Empty where the chart cannot know them:
there is no monitor, or its relabelings may name the job.
*/}}
{{- define "embedstream.jobs" -}}
{{- $jobs := list -}}
{{- $known := true -}}
{{- if .Values.podMonitor.enabled -}}
{{- $jobs = append $jobs (printf "%s/%s" .Release.Namespace (include "embedstream.fullname" .)) -}}
{{- end -}}
{{- if .Values.serviceMonitor.enabled -}}
{{- $jobs = append $jobs (include (printf "%s/service.yaml" .Template.BasePath) . | fromYaml).metadata.name -}}
{{- end -}}
{{- range $monitor := list .Values.podMonitor .Values.serviceMonitor -}}
{{- if $monitor.enabled -}}
{{- range $monitor.relabelings -}}
{{- /* A target label with $ in it can be any. What a labelmap makes can be job or namespace, and labeldrop and labelkeep can take it away. */ -}}
{{- $target := toString (default "" .targetLabel) -}}
{{- if or (has $target (list "job" "namespace")) (contains "$" $target) (hasPrefix "label" (lower (default "" .action))) -}}
{{- $known = false -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- toYaml (ternary $jobs list $known) -}}
{{- end -}}

{{/* The alerts' groups, as YAML below `groups`: the file is a list of them, or a map that has it. */}}
{{- define "embedstream.alertGroups" -}}
{{- $file := get (fromYaml (printf "file:\n%s" (.Files.Get "files/alerts.yaml" | indent 2))) "file" -}}
{{- toYaml (dict "groups" (ternary (get (ternary $file dict (kindIs "map" $file)) "groups") $file (kindIs "map" $file))) -}}
{{- end -}}
