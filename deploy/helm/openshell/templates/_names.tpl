{{- define "openshell.name" -}}
{{ .Release.Name | trunc 50 | trimSuffix "-" }}
{{- end }}

{{- define "openshell.selector" -}}
app.kubernetes.io/name: openshell
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "openshell.labels" -}}
{{ include "openshell.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- define "openshell.store" -}}
{{- $ca := ternary "" "&sslrootcert=/etc/openshell/database-ca/ca.crt" (empty .caConfigMap) -}}
postgres://{{ .user }}@{{ .host }}:{{ .port }}/{{ .name }}?sslmode={{ .sslmode }}{{ $ca }}&pool_max={{ .poolMax }}&password_file=/etc/openshell/secrets/database-password
{{- end }}
