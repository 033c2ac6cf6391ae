{{/* What no schema can tell well, all at once. Each line names the value and says what to write. */}}
{{- define "embedstream.check" -}}
{{- $problems := list -}}

{{- if and .Values.autoscaling.enabled .Values.keda.enabled -}}
{{- $problems = append $problems
  "autoscaling.enabled and keda.enabled are both true, and two scalers would fight over the replicas; write false for one of them"
-}}
{{- end -}}
{{- range $scaler := list "autoscaling" "keda" -}}
{{- $values := get $.Values $scaler -}}
{{- if and $.Values.job.enabled $values.enabled -}}
{{- $problems = append $problems (printf
  "job.enabled and %s.enabled are both true, and a Job has no replicas to scale; write %s.enabled: false"
  $scaler $scaler
) -}}
{{- end -}}
{{- if and $values.enabled (gt (int $values.minReplicas) (int $values.maxReplicas)) -}}
{{- $problems = append $problems (printf
  "%s.minReplicas: %d is more than %s.maxReplicas: %d; write %d or less"
  $scaler (int $values.minReplicas) $scaler (int $values.maxReplicas) (int $values.maxReplicas)
) -}}
{{- end -}}
{{- end -}}

{{- $brokers := include "embedstream.setting" (list . "kafka" "brokers") -}}
{{- if not $brokers -}}
{{- $problems = append $problems
  "config.kafka.brokers is missing; write where your Kafka is, for example config.kafka.brokers: kafka:9092"
-}}
{{- end -}}
{{- $topics := include "embedstream.setting" (list . "kafka" "input_topics") -}}
{{- if not $topics -}}
{{- $problems = append $problems
  "config.kafka.input_topics is missing; write what is read, for example config.kafka.input_topics: [documents]"
-}}
{{- end -}}
{{- $group := include "embedstream.setting" (list . "kafka" "group_id") -}}
{{- if and .Values.keda.enabled (has "(extraEnv)" (list $brokers $topics $group)) -}}
{{- $problems = append $problems
  (print
  "keda.enabled needs to know what it measures, and extraEnv takes brokers, topics or group from elsewhere; "
  "write config.kafka.brokers, config.kafka.input_topics and config.kafka.group_id")
-}}
{{- end -}}
{{- if and .Values.keda.authenticationRef .Values.keda.triggerAuthentication -}}
{{- $problems = append $problems "keda.authenticationRef and keda.triggerAuthentication are both set; write one of them" -}}
{{- end -}}

{{- if and .Values.networkPolicy.enabled (not .Values.networkPolicy.extraEgress) -}}
{{- $away := list -}}
{{- range $setting := list (list "kafka" "brokers") (list "provider" "url") -}}
{{- if eq "(extraEnv)" (include "embedstream.setting" (prepend $setting $)) -}}
{{- $away = append $away (join "." (prepend $setting "config")) -}}
{{- end -}}
{{- end -}}
{{- with $away -}}
{{- $problems = append $problems (printf
  "networkPolicy.enabled needs to know ports, and extraEnv takes %s from elsewhere; write it there, or its port into networkPolicy.extraEgress"
  (join " and " .)
) -}}
{{- end -}}
{{- end -}}

{{- if and .Values.job.enabled .Values.sidecars -}}
{{- $problems = append $problems
  (print
  "job.enabled and sidecars are both set, and a Job does not end while a sidecar runs; "
  "write it into initContainers with restartPolicy: Always (Kubernetes 1.29 or newer), which ends with the worker")
-}}
{{- end -}}
{{- $resources := default dict .Values.resources -}}
{{- $cpu := or (get (default dict $resources.requests) "cpu") (get (default dict $resources.limits) "cpu") -}}
{{- if and .Values.autoscaling.enabled (not .Values.autoscaling.metrics) (not $cpu) -}}
{{- $problems = append $problems
  (print
  "autoscaling.enabled scales by percent of resources.requests.cpu, and there is none; "
  "write for example resources.requests.cpu: 100m, or other metrics into autoscaling.metrics")
-}}
{{- end -}}
{{- $strategy := default dict .Values.updateStrategy -}}
{{- $rolling := default dict $strategy.rollingUpdate -}}
{{- $none := list "0" "0%" -}}
{{- if and (ne (toString $strategy.type) "Recreate") (has (toString $rolling.maxSurge) $none) (has (toString $rolling.maxUnavailable) $none) -}}
{{- $problems = append $problems
  "updateStrategy.rollingUpdate.maxSurge and maxUnavailable are both 0, so no pod could ever be replaced; write 1 for one of them"
-}}
{{- end -}}

{{- $deadline := default "25s" (include "embedstream.setting" (list . "" "shutdown_deadline")) -}}
{{- $needed := addf (include "embedstream.seconds" $deadline | float64) 5 -}}
{{- if eq $deadline "(extraEnv)" -}}
{{- $problems = append $problems
  "EMBEDSTREAM__SHUTDOWN_DEADLINE in extraEnv comes from elsewhere, where the grace cannot follow; write config.shutdown_deadline"
-}}
{{- end -}}
{{- if le (float64 .Values.terminationGracePeriodSeconds) $needed -}}
{{- $problems = append $problems (printf
  "terminationGracePeriodSeconds: %d is not more than config.shutdown_deadline: %s + 5 s, so Kubernetes would kill a drain; write %d or more"
  (int64 .Values.terminationGracePeriodSeconds) $deadline (add1 (floor $needed | int64))
) -}}
{{- end -}}

{{- $listen := include "embedstream.listen" . -}}
{{- $port := include "embedstream.port" . -}}
{{- if regexMatch "^(127\\.|localhost|\\[[0:]*:0*1\\]|\\[[0:]*:(?i:ffff):(127\\.|(?i:7f)))" $listen -}}
{{- $problems = append $problems (printf
  "config.admin.listen: %s is a loopback address, where neither probes nor Prometheus reach it; write 0.0.0.0:%s"
  $listen (default "9464" $port)
) -}}
{{- else if eq $listen "(extraEnv)" -}}
{{- $problems = append $problems
  "EMBEDSTREAM__ADMIN__LISTEN in extraEnv comes from elsewhere, where ports and probes cannot follow; write config.admin.listen"
-}}
{{- else if and $listen (or (not (regexMatch "^([0-9.]+|\\[[0-9A-Fa-f:.%]+\\]):[0-9]+$" $listen)) (lt (int $port) 1) (gt (int $port) 65535)) -}}
{{- $problems = append $problems (printf
  "config.admin.listen: %s is not an IP address with a port of 1 to 65535; write for example 0.0.0.0:9464"
  $listen
) -}}
{{- end -}}
{{- range $monitor := list "podMonitor" "serviceMonitor" -}}
{{- if and (get $.Values $monitor).enabled (not $listen) -}}
{{- $problems = append $problems (printf
  "%s.enabled is true, but config.admin.listen is empty, so there is nothing to scrape; write for example 0.0.0.0:9464"
  $monitor
) -}}
{{- end -}}
{{- $values := get $.Values $monitor -}}
{{- if $values.enabled -}}
{{- $interval := include "embedstream.seconds" $values.interval | float64 -}}
{{- if and $values.scrapeTimeout (gt (include "embedstream.seconds" $values.scrapeTimeout | float64) $interval) -}}
{{- $problems = append $problems (printf
  "%s.scrapeTimeout: %s is more than %s.interval: %s, which the Prometheus Operator refuses; write %s or less"
  $monitor $values.scrapeTimeout $monitor $values.interval $values.interval
) -}}
{{- end -}}
{{- /* Scrapes further apart show it the first refusals only by chance. */ -}}
{{- $strict := "EmbedstreamAuthRejected" -}}
{{- $on := and $.Values.prometheusRule.enabled (not (has $strict (default list $.Values.prometheusRule.disabled))) -}}
{{- if and $on (gt $interval 120.0) -}}
{{- $problems = append $problems (printf
  "%s.interval: %s is more than 2m, and %s could never fire; write 2m or less, or %s into prometheusRule.disabled"
  $monitor $values.interval $strict $strict
) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- if and .Values.apiKey.value .Values.apiKey.existingSecret.name -}}
{{- $problems = append $problems
  "apiKey.value and apiKey.existingSecret.name are both set; write only apiKey.existingSecret.name"
-}}
{{- end -}}
{{- if and .Values.apiKey.existingSecret.name (not .Values.apiKey.existingSecret.key) -}}
{{- $problems = append $problems "apiKey.existingSecret.key is empty; write the key's name in the Secret, for example api-key" -}}
{{- end -}}
{{- $config := default dict .Values.config -}}
{{- $provider := default dict $config.provider -}}
{{- if trim (toString (default "" $provider.api_key)) -}}
{{- $problems = append $problems
  "config.provider.api_key would put the key into a ConfigMap; take it out, and write apiKey.existingSecret.name"
-}}
{{- end -}}
{{- range $name, $value := default dict $provider.headers -}}
{{- if and (not (kindIs "invalid" $value)) (regexMatch "(?i)auth([^o]|$|oriz)|(api|subscription)-?key|token|secret|password|cookie|credential" $name) -}}
{{- $problems = append $problems (printf
  "config.provider.headers.%s would put a secret into a ConfigMap; take it out, and write to extraEnv, from a Secret, EMBEDSTREAM__PROVIDER__HEADERS__%s"
  $name ($name | upper | replace "-" "_")
) -}}
{{- end -}}
{{- end -}}
{{- if regexMatch "(?i)[?&]([a-z]+[-_])*(api-?key|key|token|secret|password|sig|signature)=" (toString (default "" $provider.url)) -}}
{{- $problems = append $problems
  "config.provider.url would put a secret into a ConfigMap; take it out, and write to extraEnv, from a Secret, EMBEDSTREAM__PROVIDER__URL"
-}}
{{- end -}}
{{- $kafka := default dict $config.kafka -}}
{{- range $section := list "client" "consumer" "producer" -}}
{{- range $name := include "embedstream.leaves" (list (default dict (get $kafka $section)) "") | fromYamlArray -}}
{{- if regexMatch "password|passphrase|secret|jaas|key\\.pem$|oauthbearer\\.config$" $name -}}
{{- $problems = append $problems (printf
  "config.kafka.%s.%q would put a secret into a ConfigMap; take it out, and write to extraEnv, from a Secret, EMBEDSTREAM__KAFKA__%s__%s"
  $section $name (upper $section) ($name | upper | replace "." "_")
) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- if .Values.prometheusRule.enabled -}}
{{- $known := list -}}
{{- range get (include "embedstream.alertGroups" . | fromYaml) "groups" -}}
{{- range .rules -}}
{{- $known = append $known (default "" .alert) -}}
{{- end -}}
{{- end -}}
{{- range $name, $_ := default dict .Values.prometheusRule.thresholds -}}
{{- if not (has $name $known) -}}
{{- $problems = append $problems (printf
  "prometheusRule.thresholds.%s: there is no such alert; write one of %s"
  $name (join ", " $known)
) -}}
{{- end -}}
{{- end -}}
{{- range $list := list "disabled" "kept" -}}
{{- range get $.Values.prometheusRule $list -}}
{{- if not (has . $known) -}}
{{- $problems = append $problems (printf
  "prometheusRule.%s: there is no alert %s; write one of %s"
  $list . (join ", " $known)
) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- if $problems -}}
{{- fail (printf "\n\n%s\n" (join "\n" $problems)) -}}
{{- end -}}
{{- end -}}

{{/* The dotted names of a map that hold something, as a YAML list: a list of the map and what its names begin with. */}}
{{- define "embedstream.leaves" -}}
{{- $start := last . -}}
{{- range $name, $value := first . -}}
{{- if kindIs "map" $value }}
{{- include "embedstream.leaves" (list $value (printf "%s%s." $start $name)) }}
{{- else if not (kindIs "invalid" $value) }}
- {{ printf "%s%s" $start $name | quote }}
{{- end -}}
{{- end -}}
{{- end -}}
