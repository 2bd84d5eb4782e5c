{{- define "candled.name" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" -}}
{{- else if contains "candled" .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-candled" .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- /* What selects pods of this release: it may never change, and no version is in it. */ -}}
{{- define "candled.selector" -}}
app.kubernetes.io/name: candled
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "candled.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{ include "candled.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}

{{- define "candled.image" -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" .Values.image.repository (.Values.image.tag | default .Chart.AppVersion) -}}
{{- end -}}
{{- end -}}

{{- define "candled.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{- define "candled.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end -}}

{{- /* What the pods are called that serve clients. */ -}}
{{- define "candled.front" -}}
{{- ternary "edge" "daemon" (eq .Values.mode "cluster") -}}
{{- end -}}

{{- /* Where pods may run; `affinity` of the values replaces what the caller gives. Call it with a dict of root and affinity. */ -}}
{{- define "candled.placement" -}}
{{- with .root.Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .root.Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .root.Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .root.Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .root.Values.affinity | default .affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- /* Pods with these labels on different nodes, as an affinity. Call it with a dict of labels and rule (required or preferred). */ -}}
{{- define "candled.apart" -}}
podAntiAffinity:
  {{- if eq .rule "required" }}
  requiredDuringSchedulingIgnoredDuringExecution:
    - topologyKey: kubernetes.io/hostname
      labelSelector:
        matchLabels:
          {{- .labels | nindent 10 }}
  {{- else }}
  preferredDuringSchedulingIgnoredDuringExecution:
    - weight: 100
      podAffinityTerm:
        topologyKey: kubernetes.io/hostname
        labelSelector:
          matchLabels:
            {{- .labels | nindent 12 }}
  {{- end }}
{{- end -}}

{{- define "candled.podAnnotations" -}}
kubectl.kubernetes.io/default-container: candled
prometheus.io/scrape: "true"
prometheus.io/port: "8080"
prometheus.io/path: /metrics
{{- with .Values.podAnnotations }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "candled.aliveProbes" -}}
startupProbe:
  httpGet:
    path: /healthz
    port: http
  periodSeconds: 2
  timeoutSeconds: 2
  failureThreshold: 150
livenessProbe:
  httpGet:
    path: /healthz
    port: http
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 6
{{- end -}}

{{- /* Readiness of what serves gRPC. */ -}}
{{- define "candled.readinessProbe" -}}
readinessProbe:
  {{- if .Values.tls.enabled }}
  # The kubelet's gRPC probe speaks no TLS.
  httpGet:
    path: /readyz
    port: http
  {{- else }}
  grpc:
    port: 50051
    service: candled.v1.CandleService
  {{- end }}
  periodSeconds: 5
  timeoutSeconds: 3
  failureThreshold: 2
{{- end -}}

{{- /* The way to the name server, as the policies of every pod have it. */ -}}
{{- define "candled.toNames" -}}
- to:
    - namespaceSelector:
        matchLabels:
          kubernetes.io/metadata.name: kube-system
      podSelector:
        matchLabels:
          k8s-app: kube-dns
  ports:
    - port: 53
      protocol: UDP
    - port: 53
      protocol: TCP
{{- end -}}

{{- define "candled.toExchange" -}}
# The exchange and the object store, on the public internet: no private address, and so no cloud metadata service either.
- to:
    - ipBlock:
        cidr: 0.0.0.0/0
        except:
          - 10.0.0.0/8
          - 100.64.0.0/10
          - 127.0.0.0/8
          - 169.254.0.0/16
          - 172.16.0.0/12
          - 192.168.0.0/16
  ports:
    - port: 443
    - port: 9443
{{- end -}}

{{- /* The environment of the daemon, in parts: settings of its own values last, so that `settings` cannot contradict them. */ -}}
{{- define "candled.env.settings" -}}
{{- range $name, $value := .Values.settings }}
- name: {{ $name }}
  value: {{ $value | quote }}
{{- end }}
{{- end -}}

{{- define "candled.env.exchange" -}}
{{- if .Values.embeddedExchange.enabled }}
- name: CANDLED_STREAM_URLS
  value: ws://{{ include "candled.name" . }}-exchange:9443
- name: CANDLED_REST_URLS
  value: http://{{ include "candled.name" . }}-exchange:9443
{{- end }}
{{- end -}}

{{- define "candled.env.tls" -}}
{{- if .Values.tls.enabled }}
- name: CANDLED_GRPC_TLS_CERTIFICATE
  value: /etc/candled/tls/tls.crt
- name: CANDLED_GRPC_TLS_KEY
  value: /etc/candled/tls/tls.key
{{- if .Values.tls.clientAuthority }}
- name: CANDLED_GRPC_TLS_CLIENT_AUTHORITY
  value: /etc/candled/tls/ca.crt
{{- end }}
{{- end }}
{{- end -}}

{{- define "candled.env.tokens" -}}
{{- if .Values.tokens.enabled }}
- name: CANDLED_TOKENS_FILE
  value: /etc/candled/tokens/tokens
{{- end }}
{{- end -}}

{{- define "candled.env.bus" -}}
- name: CANDLED_BUS_URLS
  value: {{ include "candled.busUrls" . }}
- name: CANDLED_BUS_REPLICAS
  value: {{ .Values.bus.replicas | quote }}
{{- if .Values.bus.login }}
- name: CANDLED_BUS_LOGIN_FILE
  value: /etc/candled/bus/login
{{- end }}
{{- if .Values.bus.authority }}
- name: CANDLED_BUS_TLS_AUTHORITY
  value: /etc/candled/bus/ca.crt
{{- end }}
{{- end -}}

{{- define "candled.busUrls" -}}
{{- $urls := .Values.bus.urls }}
{{- if not $urls }}
{{- range $server := until (int .Values.bus.replicas) }}
{{- $urls = append $urls (printf "nats://%s-nats-%d.%s-nats:4222" (include "candled.name" $) $server (include "candled.name" $)) }}
{{- end }}
{{- end }}
{{- join "," $urls -}}
{{- end -}}

{{- /* Mounts and volumes of certificates, tokens and the bus' login. Call them with a dict of root and grpc (whether it serves it) and bus. */ -}}
{{- define "candled.secretMounts" -}}
{{- if and .grpc .root.Values.tls.enabled }}
- name: tls
  mountPath: /etc/candled/tls
  readOnly: true
{{- end }}
{{- if .root.Values.tokens.enabled }}
- name: tokens
  mountPath: /etc/candled/tokens
  readOnly: true
{{- end }}
{{- if and .bus (or .root.Values.bus.login .root.Values.bus.authority) }}
- name: bus
  mountPath: /etc/candled/bus
  readOnly: true
{{- end }}
{{- end -}}

{{- define "candled.secretVolumes" -}}
{{- if and .grpc .root.Values.tls.enabled }}
- name: tls
  secret:
    secretName: {{ .root.Values.tls.secretName }}
    defaultMode: 0440
{{- end }}
{{- if .root.Values.tokens.enabled }}
- name: tokens
  secret:
    secretName: {{ .root.Values.tokens.secretName }}
    defaultMode: 0440
{{- end }}
{{- if and .bus (or .root.Values.bus.login .root.Values.bus.authority) }}
- name: bus
  secret:
    secretName: {{ .root.Values.bus.secretName }}
    defaultMode: 0440
    items:
      {{- if .root.Values.bus.login }}
      - key: login
        path: login
      {{- end }}
      {{- if .root.Values.bus.authority }}
      - key: ca.crt
        path: ca.crt
      {{- end }}
{{- end }}
{{- end -}}

{{- define "candled.env" -}}
- name: CANDLED_DATA_DIR
  value: /var/lib/candled/data
- name: CANDLED_EXCHANGE
  value: {{ .Values.exchange }}
- name: CANDLED_GRPC_ADDRESS
  value: 0.0.0.0:50051
- name: CANDLED_HTTP_ADDRESS
  value: 0.0.0.0:8080
- name: CANDLED_REST_WEIGHT_PER_MINUTE
  value: {{ div (include "candled.restWeight" . | int) (len .Values.shards) | quote }}
- name: CANDLED_SYMBOLS
  value: {{ include "candled.symbols" . | quote }}
{{- include "candled.env.settings" . }}
{{- with .Values.history.url }}
- name: CANDLED_HISTORY_URL
  value: {{ . | quote }}
{{- end }}
{{- with .Values.history.endpoint }}
- name: CANDLED_HISTORY_ENDPOINT
  value: {{ . | quote }}
{{- end }}
{{- include "candled.env.exchange" . }}
{{- include "candled.env.tls" . }}
{{- include "candled.env.tokens" . }}
{{- if gt (len .Values.shards) 1 }}
{{- $parts := list }}
{{- range .Values.shards }}{{ $parts = append $parts (join "," .) }}{{ end }}
- name: CANDLED_SHARDS
  value: {{ join ";" $parts | quote }}
- name: CANDLED_SHARD
  valueFrom:
    fieldRef:
      fieldPath: metadata.labels['apps.kubernetes.io/pod-index']
- name: POD_NAMESPACE
  valueFrom:
    fieldRef:
      fieldPath: metadata.namespace
- name: CANDLED_SHARD_ADDRESS
  value: {{ .Values.shardAddress | default (printf "%s-{shard}.%s-shards.$(POD_NAMESPACE).svc:50051" (include "candled.name" .) (include "candled.name" .)) | quote }}
{{- end }}
{{- end -}}

{{- define "candled.restWeight" -}}
{{- .Values.restWeightPerMinute | default (get (dict "binance" 3000 "coinbase" 600) .Values.exchange) -}}
{{- end -}}

{{- define "candled.symbols" -}}
{{- $symbols := list }}
{{- range .Values.shards }}{{ $symbols = concat $symbols . }}{{ end }}
{{- join "," $symbols -}}
{{- end -}}

{{- /* What the schema cannot see: values that contradict each other. Called once, from check.yaml. */ -}}
{{- define "candled.check" -}}
{{- $symbols := splitList "," (include "candled.symbols" .) }}
{{- if ne (len $symbols) (len (uniq $symbols)) }}
{{- fail "shards: name every symbol once; two shards with the same symbol would both keep its history." }}
{{- end }}
{{- if and (eq .Values.exchange "coinbase") (gt (include "candled.restWeight" . | int) 600) }}
{{- fail "restWeightPerMinute: Coinbase allows 600 requests a minute." }}
{{- end }}
{{- range $name := list "CANDLED_STREAM_URLS" "CANDLED_REST_URLS" }}
{{- if and $.Values.embeddedExchange.enabled (hasKey $.Values.settings $name) }}
{{- fail (printf "settings.%s: embeddedExchange.enabled sets it; use one of the two." $name) }}
{{- end }}
{{- end }}
{{- if and .Values.history.url (hasKey .Values.settings "CANDLED_HISTORY_URL") }}
{{- fail "settings.CANDLED_HISTORY_URL: history.url sets it; use one of the two." }}
{{- end }}
{{- if and .Values.history.url (gt (len .Values.shards) 1) (not (contains "{shard}" .Values.history.url)) }}
{{- fail "history.url: each shard writes a history of its own; put {shard} into the URL." }}
{{- end }}
{{- if and .Values.certificate.create (not .Values.tls.enabled) }}
{{- fail "certificate.create: set tls.enabled too, or the daemon does not use the certificate." }}
{{- end }}
{{- if and .Values.certificate.create (not .Values.certificate.issuerRef.name) }}
{{- fail "certificate.issuerRef: name the issuer, as in {name: letsencrypt, kind: ClusterIssuer}." }}
{{- end }}
{{- if and .Values.gateway.enabled .Values.tls.enabled }}
{{- fail "gateway.enabled: the gateway ends TLS and speaks to the daemon in clear; set tls.enabled to false." }}
{{- end }}
{{- if and .Values.gateway.enabled (not .Values.tokens.enabled) }}
{{- fail "gateway.enabled: set tokens.enabled too, or everyone outside may read." }}
{{- end }}
{{- if .Values.gateway.enabled }}
{{- range $name := list "className" "grpcHost" "chartHost" "clusterIssuer" }}
{{- if not (get $.Values.gateway $name) }}{{ fail (printf "gateway.%s: it has no default; give one." $name) }}{{ end }}
{{- end }}
{{- end }}
{{- if and (or .Values.gateway.enabled .Values.loadBalancer.enabled) (eq .Values.mode "single") (gt (len .Values.shards) 1) (not .Values.shardAddress) }}
{{- fail "shardAddress: clients outside the cluster cannot follow a redirect to a name inside it; give the public address of a shard, with {shard} for its number." }}
{{- end }}
{{- if eq .Values.mode "cluster" }}
{{- if .Values.backup.enabled }}
{{- fail "backup.enabled: ingesters and edges have no volumes; set mode to single, or backup.enabled to false." }}
{{- end }}
{{- if .Values.shardAddress }}
{{- fail "shardAddress: every edge serves every symbol; leave it out with mode cluster." }}
{{- end }}
{{- if and .Values.bus.urls .Values.networkPolicy.enabled (not .Values.bus.peers) }}
{{- fail "bus.peers: say where the servers of bus.urls are, as in [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: messaging}}}], or no policy lets candled reach them." }}
{{- end }}
{{- if and .Values.bus.authority (not .Values.bus.urls) }}
{{- fail "bus.authority: the servers that this chart runs do not encrypt; name others with bus.urls." }}
{{- end }}
{{- if gt (int .Values.edges.replicas.min) (int .Values.edges.replicas.max) }}
{{- fail "edges.replicas: max must be min or more." }}
{{- end }}
{{- end }}
{{- if .Values.loadBalancer.enabled }}
{{- if not (and .Values.tls.enabled .Values.tokens.enabled) }}
{{- fail "loadBalancer.enabled: set tls.enabled and tokens.enabled too; the load balancer passes gRPC on as it comes." }}
{{- end }}
{{- if not .Values.loadBalancer.sourceRanges }}
{{- fail "loadBalancer.sourceRanges: list the addresses that are admitted." }}
{{- end }}
{{- end }}
{{- $single := eq .Values.mode "single" }}
{{- $size := ternary .Values.storage.size .Values.nats.storage.size $single }}
{{- $set := lookup "apps/v1" "StatefulSet" .Release.Namespace (printf "%s%s" (include "candled.name" .) (ternary "" "-nats" $single)) }}
{{- if $set }}
{{- $claim := first $set.spec.volumeClaimTemplates }}
{{- if ne $claim.spec.resources.requests.storage $size }}
{{- fail (printf "%sstorage.size: the claims of the StatefulSet have %s, and Kubernetes cannot change them; follow \"Make the volume larger\" in docs/operations.md." (ternary "" "nats." $single) $claim.spec.resources.requests.storage) }}
{{- end }}
{{- end }}
{{- end -}}
