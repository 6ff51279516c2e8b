{{/* Names, labels, and what several templates need to know. */}}

{{- define "skep.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 50 | trimSuffix "-" -}}
{{- end -}}

{{/* The release's name, with the chart's if it is not in it. At most 50 characters, as a StatefulSet adds some in labels. */}}
{{- define "skep.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" -}}
{{- else if contains (include "skep.name" .) .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "skep.name" .) | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "skep.selector" -}}
app.kubernetes.io/name: {{ include "skep.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "skep.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{ include "skep.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}

{{- define "skep.image" -}}
{{- $repository := required "image.repository is empty: build an image of Skep, as the chart's README.md says, and give its name with --set image.repository=REGISTRY/NAME" .Values.image.repository -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" $repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" $repository (default .Chart.AppVersion .Values.image.tag) -}}
{{- end -}}
{{- end -}}

{{- define "skep.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "skep.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{/* Whether the platform speaks TLS: "true" or nothing. */}}
{{- define "skep.secure" -}}
{{- if or .Values.tls.existingSecret .Values.acme.directory -}}true{{- end -}}
{{- end -}}

{{/* Whether there may be more than one pod: "true" or nothing. */}}
{{- define "skep.several" -}}
{{- if or .Values.autoscaling.enabled (gt (int .Values.replicas) 1) -}}true{{- end -}}
{{- end -}}

{{/* A quantity of Kubernetes, such as 2Gi or 1.5G, in bytes. */}}
{{- define "skep.bytes" -}}
{{- $units := dict "" 1 "k" 1e3 "M" 1e6 "G" 1e9 "T" 1e12 "Ki" 1024 "Mi" 1048576 "Gi" 1073741824 "Ti" 1099511627776 -}}
{{- $text := ternary (printf "%.0f" .) (toString .) (kindIs "float64" .) -}}
{{- if not (regexMatch "^[0-9]+([.][0-9]+)?(k|M|G|T|Ki|Mi|Gi|Ti)?$" $text) -}}
{{- fail (printf "resources.limits.memory is %s: write it as 2Gi, or give memoryMib" $text) -}}
{{- end -}}
{{- $number := regexFind "^[0-9.]+" $text -}}
{{- mulf (float64 $number) (float64 (get $units (trimPrefix $number $text))) | floor | int64 -}}
{{- end -}}

{{/* The memory for isolates in MiB, or nothing if nobody limits it: then Skep takes three quarters of what it sees. */}}
{{- define "skep.memoryMib" -}}
{{- $limit := dig "limits" "memory" "" .Values.resources -}}
{{- $mib := int64 .Values.memoryMib -}}
{{- if and (not $mib) $limit -}}
{{- $mib = divf (mulf (include "skep.bytes" $limit | float64) (float64 .Values.memoryPercent)) 104857600.0 | floor | int64 -}}
{{- end -}}
{{- if and (or $mib $limit) (lt $mib (int64 64)) -}}
{{- fail (printf "isolates would have %d MiB, and nothing runs with less than 64: raise resources.limits.memory" $mib) -}}
{{- end -}}
{{- if $mib -}}{{- $mib -}}{{- end -}}
{{- end -}}
