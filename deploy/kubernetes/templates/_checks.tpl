{{/* What is refused before anything is rendered. Each message says what to do. */}}

{{/*
Whether nodes can share their state: "true" or nothing. Not yet: a node has its state in one data directory (SQLite and files),
which it locks. Once Skep has a store that nodes share, this says whether store.postgres and store.objects are given, and the
first refusal below goes; nothing else of the chart needs to know.
*/}}
{{- define "skep.sharedStore" -}}
{{- end -}}

{{- define "skep.checks" -}}
{{- if and (or .Values.store.postgres .Values.store.objects) (not (include "skep.sharedStore" .)) -}}
{{- fail "store.postgres and store.objects are not supported yet: this version of Skep keeps its state in one data directory. Leave both empty" -}}
{{- end -}}
{{- if and (include "skep.several" .) (not (include "skep.sharedStore" .)) -}}
{{- $what := ternary "autoscaling.enabled is true" (printf "replicas is %d" (int .Values.replicas)) .Values.autoscaling.enabled -}}
{{- fail (printf "%s, but several pods need a store that they share, and store.postgres and store.objects are not supported yet: this version of Skep keeps its state in one data directory. Set replicas to 1 and autoscaling.enabled to false; a bigger pod (resources) serves more" $what) -}}
{{- end -}}
{{- if and (ne .Values.service.type "ClusterIP") (not (include "skep.secure" .)) -}}
{{- fail (printf "there is neither tls.existingSecret nor acme.directory, and a Service of type %s would lead the public to plain HTTP, which shows tokens on their way: give one of them, or set service.type to ClusterIP to try Skep out" .Values.service.type) -}}
{{- end -}}
{{- with .Values.autoscaling -}}
{{- if and .enabled (lt (int .maxReplicas) (int .minReplicas)) -}}
{{- fail (printf "autoscaling.maxReplicas is %d and minReplicas is %d: the most is not less than the fewest" (int .maxReplicas) (int .minReplicas)) -}}
{{- end -}}
{{- if and .enabled (not (include "skep.hpaMetrics" . | fromYamlArray)) -}}
{{- fail "autoscaling.targets has no metric: give at least one" -}}
{{- end -}}
{{- end -}}
{{- if and .Values.masterKey.formerKeys (not .Values.masterKey.existingSecret) -}}
{{- fail "masterKey.formerKeys is a key of masterKey.existingSecret: give that too. A master key in the data directory is replaced by `skep master-key rotate`" -}}
{{- end -}}
{{- if and (not .Values.acme.directory) (or .Values.acme.contact .Values.acme.challenges .Values.acme.rootConfigMap) -}}
{{- fail "acme.contact, acme.challenges and acme.rootConfigMap need acme.directory: give letsencrypt, or a URL" -}}
{{- end -}}
{{- end -}}
