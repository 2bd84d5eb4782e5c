variable "namespace" {
  description = "Namespace to make and deploy to."
  type        = string
  default     = "candled"

  validation {
    condition     = can(regex("^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$", var.namespace))
    error_message = "A namespace has at most 63 small letters, digits and hyphens."
  }
}

variable "image" {
  description = "Image with its registry and without a version, such as 123456789012.dkr.ecr.eu-central-1.amazonaws.com/candled."
  type        = string

  validation {
    condition     = !can(regex("[:@][^/]*$", var.image))
    error_message = "Give the version in image_version, not in image."
  }
}

variable "image_version" {
  description = "Version of the image: a tag, or a digest as sha256:... for a deployment that cannot change under its name."
  type        = string

  validation {
    condition     = var.image_version != "latest" && can(regex("^(sha256:[0-9a-f]{64}|[A-Za-z0-9_][A-Za-z0-9._-]{0,127})$", var.image_version))
    error_message = "Name a version such as 0.1.0; latest would change without a plan that shows it."
  }
}

variable "mode" {
  description = "single: a pod with a volume for each shard. cluster: ingesters and edges on a bus, of which any may die; history is what the bus keeps."
  type        = string
  default     = "single"

  validation {
    condition     = contains(["single", "cluster"], var.mode)
    error_message = "Choose single or cluster."
  }
}

variable "ingesters_per_shard" {
  description = "Mode cluster: pods that build the bars of each shard. With two, one may be away."
  type        = number
  default     = 2

  validation {
    condition     = var.ingesters_per_shard >= 1 && var.ingesters_per_shard <= 10 && floor(var.ingesters_per_shard) == var.ingesters_per_shard
    error_message = "Choose a whole number from 1 to 10."
  }
}

variable "edges" {
  description = "Mode cluster: fewest and most edges, and open streams of one at which another is started (0: by CPU alone; the cluster must serve candled_subscribers as a custom metric)."
  type        = object({ min = optional(number, 2), max = optional(number, 10), streams = optional(number, 0) })
  default     = {}
  nullable    = false

  validation {
    condition     = var.edges.min >= 1 && var.edges.max >= var.edges.min
    error_message = "One edge at least, and max must be min or more."
  }
}

variable "bus" {
  description = "Mode cluster: NATS servers that are there (urls, and peers as in a NetworkPolicy), or none, so that the chart runs replicas of its own with a volume each; login takes the Secret candled-bus."
  type        = object({ urls = optional(list(string), []), peers = optional(list(any), []), replicas = optional(number, 3), login = optional(bool, false), storage_size = optional(string, "10Gi") })
  default     = {}
  nullable    = false

  validation {
    condition     = contains([1, 3, 5], var.bus.replicas)
    error_message = "Choose 1, 3 or 5 replicas: an even number survives no more than one less."
  }
  validation {
    condition     = alltrue([for url in var.bus.urls : can(regex("^(nats|tls)://[^@/,\\s]+$", url))])
    error_message = "Write URLs such as nats://nats.messaging.svc:4222, without a user: that is in the Secret candled-bus."
  }
  validation {
    condition     = length(var.bus.urls) == 0 || length(var.bus.peers) > 0
    error_message = "Say in peers where the servers are, such as [{ namespaceSelector = { matchLabels = { \"kubernetes.io/metadata.name\" = \"messaging\" } } }]: no policy lets candled reach them otherwise."
  }
  validation {
    condition     = can(regex("^[1-9][0-9]*(Mi|Gi|Ti)$", var.bus.storage_size))
    error_message = "Write a size such as 10Gi."
  }
}

variable "exchange" {
  description = "Exchange to read: binance or coinbase. A volume holds the bars of one and remembers which."
  type        = string
  default     = "binance"

  validation {
    condition     = contains(["binance", "coinbase"], var.exchange)
    error_message = "Choose binance or coinbase."
  }
}

variable "shards" {
  description = "Symbols of each pod, or in mode cluster of each group of ingesters, as the exchange writes them. One pod with all of them is right until its CPU or the exchange's stream limit is full."
  type        = list(list(string))
  default     = [["BTCUSDT", "ETHUSDT", "PEPEUSDT"]]
  nullable    = false

  validation {
    condition     = length(var.shards) > 0 && alltrue([for symbols in var.shards : length(symbols) > 0])
    error_message = "Give every shard at least one symbol."
  }
  validation {
    condition     = length(flatten(var.shards)) == length(distinct(flatten(var.shards)))
    error_message = "Name every symbol once: two shards with the same symbol would both keep its history."
  }
  validation {
    condition     = alltrue([for symbol in flatten(var.shards) : can(regex("^[^\\s,;=a-z]+$", symbol))])
    error_message = "A symbol is written as the exchange writes it, in capitals, without spaces, commas and semicolons."
  }
}

variable "rest_weight_per_minute" {
  description = "Request weight a minute that repairs of all pods may use together: they share one public address. 0 takes 3,000 of the 6,000 that Binance allows, and the 600 requests that Coinbase allows."
  type        = number
  default     = 0

  validation {
    condition     = var.rest_weight_per_minute == 0 || (var.rest_weight_per_minute >= 100 && var.rest_weight_per_minute <= (var.exchange == "coinbase" ? 600 : 5000) && floor(var.rest_weight_per_minute) == var.rest_weight_per_minute)
    error_message = "Choose 0, or a whole number from 100 to 5000 (600 at Coinbase): beyond that the exchange bans the address."
  }
}

variable "settings" {
  description = "Further settings of the daemon as CANDLED_* variables, over the defaults of the chart."
  type        = map(string)
  default     = {}
  nullable    = false

  validation {
    condition     = alltrue([for name in keys(var.settings) : can(regex("^CANDLED_[A-Z_]+$", name))])
    error_message = "Settings are named CANDLED_ and capital letters: `candled config` lists them."
  }
  validation {
    condition = length(setintersection(keys(var.settings), [
      "CANDLED_ROLE", "CANDLED_INGEST_RANK", "CANDLED_BUS_URLS", "CANDLED_BUS_REPLICAS", "CANDLED_BUS_LOGIN_FILE", "CANDLED_BUS_TLS_AUTHORITY",
      "CANDLED_EXCHANGE", "CANDLED_SYMBOLS", "CANDLED_SHARDS", "CANDLED_SHARD", "CANDLED_SHARD_ADDRESS", "CANDLED_REST_WEIGHT_PER_MINUTE",
      "CANDLED_DATA_DIR", "CANDLED_GRPC_ADDRESS", "CANDLED_HTTP_ADDRESS", "CANDLED_GRPC_TLS_CERTIFICATE",
      "CANDLED_GRPC_TLS_KEY", "CANDLED_GRPC_TLS_CLIENT_AUTHORITY", "CANDLED_TOKENS_FILE", "CANDLED_HISTORY_URL",
      "CANDLED_HISTORY_ENDPOINT",
    ])) == 0
    error_message = "Mode, bus, exchange, symbols, weight, history, certificates and tokens have variables of their own; addresses and the data directory are the chart's."
  }
}

variable "history_url" {
  description = "Mode single: object store that the history is copied to, and that an empty volume continues from: s3://bucket/prefix, gs:// or az://; with several shards {shard} must be in it. Empty: none."
  type        = string
  default     = ""
  nullable    = false

  validation {
    condition     = var.history_url == "" || can(regex("^(s3|gs|az)://[^/]+/.+$", var.history_url))
    error_message = "Write a URL with a prefix, such as s3://bucket/candled."
  }
  validation {
    condition     = var.history_url == "" || length(var.shards) == 1 || strcontains(var.history_url, "{shard}")
    error_message = "Each shard writes a history of its own: put {shard} into the URL."
  }
}

variable "history_endpoint" {
  description = "Address of an S3-compatible server that has it; empty takes the provider's own."
  type        = string
  default     = ""
  nullable    = false
}

variable "pod_identity" {
  description = "Let the pods reach EKS Pod Identity's agent, which gives them the keys of their role."
  type        = bool
  default     = false
}

variable "storage_size" {
  description = "Mode single: size of each pod's volume. A symbol takes about 30 MB a year; leave room for the journal and for compaction."
  type        = string
  default     = "10Gi"

  validation {
    condition     = can(regex("^[1-9][0-9]*(Mi|Gi|Ti)$", var.storage_size))
    error_message = "Write a size such as 10Gi."
  }
}

variable "storage_class_name" {
  description = "Storage class of the volumes; empty takes the cluster's default."
  type        = string
  default     = ""
  nullable    = false
}

variable "access_mode" {
  description = "ReadWriteOncePod where the storage driver has it (one pod in the whole cluster), else ReadWriteOnce (one node)."
  type        = string
  default     = "ReadWriteOnce"

  validation {
    condition     = contains(["ReadWriteOnce", "ReadWriteOncePod"], var.access_mode)
    error_message = "Choose ReadWriteOnce or ReadWriteOncePod: a volume must never have two writers."
  }
}

variable "memory_limit" {
  description = "Memory limit of a pod; half of it is requested."
  type        = string
  default     = "1024Mi"

  validation {
    condition     = can(regex("^[1-9][0-9]*Mi$", var.memory_limit)) && try(tonumber(trimsuffix(var.memory_limit, "Mi")) >= 512, false)
    error_message = "Write a limit in Mi, 512Mi or more."
  }
}

variable "embedded_exchange" {
  description = "Deploy candled's own exchange and read from it in place of the real one, for trials."
  type        = bool
  default     = false
}

variable "tls" {
  description = "Encrypt the gRPC port with the certificate of the Secret candled-tls, which must be in the namespace."
  type        = bool
  default     = false
}

variable "tokens" {
  description = "Ask clients for a bearer token of the Secret candled-tokens, which must be in the namespace."
  type        = bool
  default     = false
}

variable "monitoring" {
  description = "Deploy the PodMonitor, alert rules and Grafana dashboard too. The cluster must have the Prometheus operator."
  type        = bool
  default     = false
}

variable "monitoring_labels" {
  description = "Labels that the Prometheus operator asks of what it takes up, such as { release = \"kube-prometheus-stack\" }."
  type        = map(string)
  default     = {}
  nullable    = false
}

variable "more_values" {
  description = "Further values of the chart as YAML, over those that the variables make: `yamlencode({ ... })`. ops/helm/candled/README.md lists them."
  type        = list(string)
  default     = []
  nullable    = false
}

variable "timeout_seconds" {
  description = "How long all pods may take to become ready before the deployment is undone."
  type        = number
  default     = 600
}
