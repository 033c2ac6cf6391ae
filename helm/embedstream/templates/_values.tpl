{{/*
What a value is where there is none: somebody wrote null, or `helm upgrade --reuse-values` took all values from a chart that did not know it.
Here is what templates cannot do without; elsewhere none means none. tests/chart compares it with values.yaml.
*/}}
{{- define "embedstream.defaultValues" -}}
image:
  repository: embedstream
  tag: ""
  digest: ""
  pullPolicy: IfNotPresent
apiKey:
  existingSecret: {name: "", key: api-key}
  value: ""
autoscaling: {enabled: false, minReplicas: 1, maxReplicas: 8, targetCPUUtilizationPercentage: 80}
keda:
  enabled: false
  minReplicas: 1
  maxReplicas: 8
  lagThreshold: 2000
  authenticationRef: ""
  authenticationKind: TriggerAuthentication
  pollingInterval: 30
  cooldownPeriod: 300
job: {enabled: false, backoffLimit: 6}
podMonitor: {enabled: false, interval: 30s}
serviceMonitor: {enabled: false, interval: 30s}
prometheusRule: {enabled: false, disabled: [], kept: [], runbook: ""}
dashboard: {enabled: false}
networkPolicy: {enabled: false}
podDisruptionBudget: {enabled: false, maxUnavailable: 1}
serviceAccount: {create: true, name: "", automount: false}
terminationGracePeriodSeconds: 60
{{- end -}}

{{/* Puts defaults where a map has nothing, in place: a list of the map and the defaults. */}}
{{- define "embedstream.fill" -}}
{{- $values := first . -}}
{{- range $name, $default := last . -}}
{{- if or (not (hasKey $values $name)) (kindIs "invalid" (get $values $name)) -}}
{{- $_ := set $values $name $default -}}
{{- else if kindIs "map" $default -}}
{{- include "embedstream.fill" (list (get $values $name) $default) -}}
{{- end -}}
{{- end -}}
{{- end -}}
