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
{{- $listed := include "embedstream.variable" (list . "EMBEDSTREAM__KAFKA__BROKERS") | trim -}}
{{- if and (hasPrefix "[" $listed) (not (regexMatch "^\\[[0-9A-Fa-f:.%]+\\](:[0-9]+)?(,|$)" $listed)) -}}
{{- $problems = append $problems (printf
  "EMBEDSTREAM__KAFKA__BROKERS in extraEnv is a list, which the worker takes in config only; write %s"
  (regexReplaceAll "[\\[\\]\"' ]" $listed "")
) -}}
{{- end -}}
{{- $written := include "embedstream.variable" (list . "EMBEDSTREAM__KAFKA__INPUT_TOPICS") | trim -}}
{{- if and (contains "," $written) (not (hasPrefix "[" $written)) -}}
{{- $problems = append $problems (printf
  "EMBEDSTREAM__KAFKA__INPUT_TOPICS in extraEnv: %s is no list; write %s"
  $written (regexSplit "\\s*,\\s*" $written -1 | compact | toJson)
) -}}
{{- end -}}
{{- $inputs := regexSplit "\\s*,\\s*" $topics -1 -}}
{{- $output := include "embedstream.setting" (list . "kafka" "output_topic") | default "documents.embeddings" -}}
{{- $dead := include "embedstream.setting" (list . "kafka" "dead_letter_topic") | default "documents.dead-letters" -}}
{{- range $name, $topic := dict "output_topic" $output "dead_letter_topic" $dead -}}
{{- if and (has $topic $inputs) (ne $topic "(extraEnv)") -}}
{{- $problems = append $problems (printf
  "config.kafka.%s: %s is one of config.kafka.input_topics, too, so the worker would read what it writes; write another topic"
  $name $topic
) -}}
{{- end -}}
{{- end -}}
{{- if and (eq $output $dead) (ne $output "(extraEnv)") -}}
{{- $problems = append $problems (printf "config.kafka.output_topic: %s is config.kafka.dead_letter_topic, too; write another topic" $output) -}}
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
{{- $drain := include "embedstream.seconds" $deadline | float64 -}}
{{- $needed := addf $drain 5 -}}
{{- if eq $deadline "(extraEnv)" -}}
{{- $problems = append $problems
  "EMBEDSTREAM__SHUTDOWN_DEADLINE in extraEnv comes from elsewhere, where the grace cannot follow; write config.shutdown_deadline"
-}}
{{- end -}}
{{- /* The worker's own rules, without which it would not start. */ -}}
{{- $poll := include "embedstream.clientSetting" (list . "max.poll.interval.ms") | default "120000" -}}
{{- $known := and (regexMatch "^[0-9]+$" $poll) (not .Values.extraEnvFrom) -}}
{{- range $section := list "KAFKA" "KAFKA__CLIENT" "KAFKA__CONSUMER" -}}
{{- if include "embedstream.variable" (list $ (printf "EMBEDSTREAM__%s" $section)) -}}
{{- $known = false -}}
{{- end -}}
{{- end -}}
{{- if ne $deadline "(extraEnv)" -}}
{{- if or (lt $drain 0.001) (gt $drain 3600.0) -}}
{{- $problems = append $problems (printf "config.shutdown_deadline: %s is out of range: 1ms to 1h; write for example 25s" $deadline) -}}
{{- else if and $known (ge (mulf $drain 1000) (float64 $poll)) -}}
{{- $problems = append $problems (printf
  "config.shutdown_deadline: %s is not below max.poll.interval.ms: %s, and the group would expel a worker that drains so long; %s"
  $deadline $poll "write less, or a larger max.poll.interval.ms into config.kafka.consumer"
) -}}
{{- end -}}
{{- end -}}
{{- $revoke := default "10s" (include "embedstream.setting" (list . "kafka" "revoke_deadline")) -}}
{{- if and $known (ne $revoke "(extraEnv)") (ge (mulf (include "embedstream.seconds" $revoke | float64) 2000) (float64 $poll)) -}}
{{- $problems = append $problems (printf
  "config.kafka.revoke_deadline: %s is not below half of max.poll.interval.ms: %s; %s"
  $revoke $poll "write less, or a larger max.poll.interval.ms into config.kafka.consumer"
) -}}
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
{{- if eq $interval 0.0 -}}
{{- $problems = append $problems (printf "%s.interval: %s is no time at all; write for example 30s" $monitor $values.interval) -}}
{{- end -}}
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
{{- if and (not (kindIs "invalid" $value)) (include "embedstream.secretHeader" $name) -}}
{{- $problems = append $problems (printf
  "config.provider.headers.%s would put a secret into a ConfigMap; take it out, and write to extraEnv, from a Secret, EMBEDSTREAM__PROVIDER__HEADERS__%s"
  $name ($name | upper | replace "-" "_")
) -}}
{{- end -}}
{{- end -}}
{{- range include "embedstream.leaves" (list (default dict $provider.body) "") | fromYamlArray -}}
{{- if include "embedstream.secretField" . -}}
{{- /* The variable of a field holds it in small letters. */ -}}
{{- $plain := regexMatch "^[a-z0-9]+([_.][a-z0-9]+)*$" . -}}
{{- $problems = append $problems (printf
  "config.provider.body.%s would put a secret into a ConfigMap; take it out, and write to extraEnv, from a Secret, EMBEDSTREAM__PROVIDER__BODY%s"
  . (ternary (printf "__%s" (upper . | replace "." "__")) ", which is the whole body as JSON" $plain)
) -}}
{{- end -}}
{{- end -}}
{{- $url := include "embedstream.setting" (list . "provider" "url") -}}
{{- $secrets := "(?i)[?&]([^=&#]*(password|passwd|secret|key|token|jaas|credential|auth|cookie|\\.pem|assertion))" -}}
{{- if regexMatch $secrets $url -}}
{{- $problems = append $problems (print
  "config.provider.url seems to hold a secret, which the worker refuses to take there; "
  "take it out, and write it to extraEnv as a header, from a Secret, such as EMBEDSTREAM__PROVIDER__HEADERS__X_API_KEY"
) -}}
{{- else if include "embedstream.signed" (toString (default "" $provider.url)) -}}
{{- $problems = append $problems
  "config.provider.url would put a secret into a ConfigMap; take it out, and write to extraEnv, from a Secret, EMBEDSTREAM__PROVIDER__URL"
-}}
{{- end -}}
{{- $kafka := default dict $config.kafka -}}
{{- range $section := list "client" "consumer" "producer" -}}
{{- range $name := include "embedstream.leaves" (list (default dict (get $kafka $section)) "") | fromYamlArray -}}
{{- if include "embedstream.secretClientSetting" $name -}}
{{- $problems = append $problems (printf
  "config.kafka.%s.%q would put a secret into a ConfigMap; take it out, and write to extraEnv, from a Secret, EMBEDSTREAM__KAFKA__%s__%s"
  $section $name (upper $section) ($name | upper | replace "." "_")
) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- range .Values.extraEnv -}}
{{- if include "embedstream.plainSecret" . -}}
{{- $problems = append $problems (printf
  "extraEnv: the value of %s is a secret in plain text, which stays in the release's history; write valueFrom: {secretKeyRef: {name: …, key: …}}%s"
  .name (hasSuffix "_API_KEY" .name | ternary ", or apiKey.existingSecret.name" "")
) -}}
{{- end -}}
{{- end -}}

{{- $budget := .Values.podDisruptionBudget -}}
{{- if and $budget.enabled (regexMatch "^0+%?$" (toString $budget.maxUnavailable)) -}}
{{- $problems = append $problems (printf
  "podDisruptionBudget.maxUnavailable: %v would let no node be drained while its pod is healthy; write 1, or a percentage such as 25%%"
  $budget.maxUnavailable
) -}}
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
{{- range default list (get $.Values.prometheusRule $list) -}}
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

{{/* Names of what is a secret; empty: it is none. Of a header, of a field of the request's body (dotted), of a setting of librdkafka. */}}
{{- define "embedstream.secretHeader" -}}
{{- $keys := "(api|access|subscription|secret|private)[-_]?key|^(x[-_])?key$" -}}
{{- $names := printf "(?i)auth([^o]|$|oriz)|%s|token|secret|password|cookie|credential" $keys -}}
{{- if regexMatch $names . -}}true{{- end -}}
{{- end -}}

{{- define "embedstream.secretField" -}}
{{- $tokens := "(^|access|auth|bearer|refresh|session|api|id)[-_]?token" -}}
{{- $keys := "((access|subscription|private)[-_]?)?key" -}}
{{- $names := printf "(?i)^(.*(api[-_]?key|passw(or)?d|secret|credential|authorization|cookie).*|%s|auth|%s)$" $keys $tokens -}}
{{- range splitList "." . -}}
{{- if regexMatch $names . -}}true{{- end -}}
{{- end -}}
{{- end -}}

{{- define "embedstream.secretClientSetting" -}}
{{- if regexMatch "password|passphrase|secret|jaas|key\\.pem$|oauthbearer\\.config$" . -}}true{{- end -}}
{{- end -}}

{{/* Whether a URL is signed, which the worker takes for no secret. */}}
{{- define "embedstream.signed" -}}
{{- if regexMatch "(?i)[?&]([a-z]+[-_])*(sig|signature)=" . -}}true{{- end -}}
{{- end -}}

{{/* Whether an entry of extraEnv has a secret of the worker as its value, and not from elsewhere, as $(VARIABLE) is. */}}
{{- define "embedstream.plainSecret" -}}
{{- $value := toString (default "" .value) -}}
{{- if and (trim $value) (not (regexMatch "\\$\\([A-Za-z_]" $value)) -}}
{{- $headers := "EMBEDSTREAM__PROVIDER__HEADERS__" -}}
{{- $body := "EMBEDSTREAM__PROVIDER__BODY__" -}}
{{- $client := "^EMBEDSTREAM__KAFKA__(CLIENT|CONSUMER|PRODUCER)__" -}}
{{- if has .name (list "OPENROUTER_API_KEY" "EMBEDSTREAM__PROVIDER__API_KEY") -}}
{{- /* What a server without keys is given for one. */ -}}
{{- if not (has (lower (trim $value)) (list "none" "dummy" "empty")) -}}true{{- end -}}
{{- else if eq .name "EMBEDSTREAM__PROVIDER__URL" -}}
{{- include "embedstream.signed" $value -}}
{{- else if hasPrefix $headers .name -}}
{{- include "embedstream.secretHeader" (trimPrefix $headers .name | replace "_" "-") -}}
{{- else if hasPrefix $body .name -}}
{{- include "embedstream.secretField" (trimPrefix $body .name | replace "__" ".") -}}
{{- else if regexMatch $client .name -}}
{{- include "embedstream.secretClientSetting" (regexReplaceAll $client .name "" | lower | replace "_" ".") -}}
{{- else if and (hasPrefix "EMBEDSTREAM__" .name) (hasPrefix "{" (trim $value)) -}}
{{- /* A whole section: its leaves, named from the top. */ -}}
{{- $section := trimPrefix "EMBEDSTREAM__" .name | lower | replace "__" "." -}}
{{- range include "embedstream.leaves" (list (fromYaml $value) (printf "%s." $section)) | fromYamlArray -}}
{{- if regexMatch "^provider\\.headers\\." . -}}
{{- include "embedstream.secretHeader" (trimPrefix "provider.headers." .) -}}
{{- else if regexMatch "^provider\\.body\\." . -}}
{{- include "embedstream.secretField" (trimPrefix "provider.body." .) -}}
{{- else if eq . "provider.api_key" -}}
true
{{- else if regexMatch "^kafka\\.(client|consumer|producer)\\." . -}}
{{- include "embedstream.secretClientSetting" (regexReplaceAll "^kafka\\.[a-z]+\\." . "") -}}
{{- end -}}
{{- end -}}
{{- end -}}
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
{{- if kindIs "slice" $value -}}
{{- range $position, $element := $value -}}
{{- if kindIs "map" $element }}
{{- include "embedstream.leaves" (list $element (printf "%s%s.%d." $start $name $position)) }}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
