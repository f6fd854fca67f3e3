{{- define "llegada.labels" -}}
app.kubernetes.io/part-of: llegada
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/version: {{ .Values.image.tag | default .Chart.AppVersion | quote }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end -}}

{{- define "llegada.selector" -}}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/name: {{ .service }}
{{- end -}}

{{- define "llegada.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}

{{- define "llegada.databaseHost" -}}
{{- if .Values.database.cluster.enabled }}{{ .Release.Name }}-database-rw{{ else }}{{ required "database.host is needed where database.cluster.enabled is false" .Values.database.host }}{{ end -}}
{{- end -}}

{{- define "llegada.brokerHost" -}}
{{- if .Values.broker.cluster.enabled }}{{ .Release.Name }}-rabbitmq{{ else }}{{ required "broker.host is needed where broker.cluster.enabled is false" .Values.broker.host }}{{ end -}}
{{- end -}}

{{- define "llegada.brokerAdministrator" -}}
{{- .Values.secrets.brokerAdministrator.name | default (printf "%s-rabbitmq-default-user" .Release.Name) -}}
{{- end -}}

{{/* A password, and the address that holds it. Dict: root, login, key. */}}
{{- define "llegada.databaseEnv" -}}
- name: DATABASE_PASSWORD
  valueFrom: {secretKeyRef: {name: {{ .root.Values.secrets.prefix }}-database, key: {{ .key }}}}
- name: DATABASE_URL
  value: postgresql://{{ .login }}:$(DATABASE_PASSWORD)@{{ include "llegada.databaseHost" .root }}:{{ .root.Values.database.port }}/{{ .root.Values.database.name }}{{ with .root.Values.database.sslmode }}?sslmode={{ . }}{{ end }}
{{- if .root.Values.database.caSecret }}
- name: PGSSLROOTCERT
  value: /database-ca/ca.crt
{{- end }}
{{- end -}}

{{/* Beside databaseEnv: whom `sslmode: verify-full` trusts. */}}
{{- define "llegada.databaseCaMount" -}}
{{- if .Values.database.caSecret }}
- {name: database-ca, mountPath: /database-ca, readOnly: true}
{{- end }}
{{- end -}}

{{- define "llegada.databaseCaVolume" -}}
{{- if .Values.database.caSecret }}
- name: database-ca
  secret: {secretName: {{ .Values.database.caSecret }}, items: [{key: ca.crt, path: ca.crt}], defaultMode: 0444}
{{- end }}
{{- end -}}

{{/* Dict: root, user. */}}
{{- define "llegada.brokerEnv" -}}
- name: AMQP_PASSWORD
  valueFrom: {secretKeyRef: {name: {{ .root.Values.secrets.prefix }}-broker, key: {{ .user }}}}
- name: AMQP_URL
  value: {{ if .root.Values.broker.tls }}amqps{{ else }}amqp{{ end }}://{{ .user }}:$(AMQP_PASSWORD)@{{ include "llegada.brokerHost" .root }}:{{ .root.Values.broker.port }}/{{ .root.Values.broker.vhost }}
{{- end -}}

{{/* What a service's deploy.yaml and the installation say about its settings. Dict: root, service, own. */}}
{{- define "llegada.ownEnv" -}}
{{- range $name, $value := .own.settings }}
- name: {{ $name }}
  value: {{ $value | quote }}
{{- end }}
{{- range .own.secretSettings }}
- name: {{ . }}
  valueFrom: {secretKeyRef: {name: {{ $.root.Values.secrets.prefix }}-{{ $.service }}, key: {{ . }}}}
{{- end }}
{{- range .own.optionalSecretSettings }}
- name: {{ . }}
  valueFrom: {secretKeyRef: {name: {{ $.root.Values.secrets.prefix }}-{{ $.service }}, key: {{ . }}, optional: true}}
{{- end }}
{{- end -}}

{{/* Whether the API may act for all services: with the queue switched off, and where it is said. */}}
{{- define "llegada.embedded" -}}
{{- if or (not .Values.queueEnabled) .Values.database.embeddedRights }}yes{{ end }}
{{- end -}}

{{/* Of a service's container. Who does everybody's work, statements included, may have the memory of the one that has most.
Dict: root, own. */}}
{{- define "llegada.resources" -}}
{{- $chosen := .own.resources | default .root.Values.resources -}}
{{- if and (not .root.Values.queueEnabled) .own.answersRequests -}}
{{- $most := 0 -}}
{{- range $other, $its := .root.Values.services -}}
{{- $resources := $its.resources | default $.root.Values.resources -}}
{{- $limit := dig "limits" "memory" "" $resources | toString -}}
{{- $mebibytes := regexFind "^[0-9]+" $limit | int -}}
{{- if hasPrefix "G" (trimAll "0123456789" $limit) }}{{ $mebibytes = mul 1024 $mebibytes | int }}{{ end -}}
{{- if gt $mebibytes $most }}{{ $most = $mebibytes }}{{ $chosen = $resources }}{{ end -}}
{{- end -}}
{{- end -}}
{{- toYaml $chosen -}}
{{- end -}}

{{- define "llegada.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{- define "llegada.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end -}}

{{/* The Job that prepares database and broker: another one for every image and revision, as Jobs cannot be changed. */}}
{{- define "llegada.prepareName" -}}
{{- printf "%s-prepare-%s" .Release.Name (printf "%s %d" (include "llegada.image" .) .Release.Revision | sha256sum | trunc 8) -}}
{{- end -}}

{{/* Where every pod may go: names, database, broker. Dict: root, management. */}}
{{- define "llegada.inner" }}
    - ports: [{port: 53, protocol: UDP}, {port: 53, protocol: TCP}]
    - ports: [{port: {{ .root.Values.database.port }}}]
      {{- if .root.Values.database.cluster.enabled }}
      to: [{podSelector: {matchLabels: {cnpg.io/cluster: {{ .root.Release.Name }}-database}}}]
      {{- end }}
    - ports: [{port: {{ .root.Values.broker.port }}}{{ if .management }}, {port: {{ .root.Values.broker.managementPort }}}{{ end }}]
      {{- if .root.Values.broker.cluster.enabled }}
      to: [{podSelector: {matchLabels: {app.kubernetes.io/name: {{ .root.Release.Name }}-rabbitmq}}}]
      {{- end }}
{{- end }}
