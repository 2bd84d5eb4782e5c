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

variable "shards" {
  description = "Symbols of each pod. One pod with all of them is right until its CPU or the exchange's stream limit is full."
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
  description = "Request weight a minute that repairs of all pods may use together: they share one public address, and the exchange allows 6,000."
  type        = number
  default     = 3000

  validation {
    condition     = var.rest_weight_per_minute >= 100 && var.rest_weight_per_minute <= 5000 && floor(var.rest_weight_per_minute) == var.rest_weight_per_minute
    error_message = "Choose a whole number from 100 to 5000: beyond that the exchange bans the address."
  }
}

variable "settings" {
  description = "Further settings of the daemon as CANDLED_* variables, over those of ops/k8s/base/candled.env."
  type        = map(string)
  default     = {}
  nullable    = false

  validation {
    condition     = alltrue([for name in keys(var.settings) : can(regex("^CANDLED_[A-Z_]+$", name))])
    error_message = "Settings are named CANDLED_ and capital letters: `candled config` lists them."
  }
  validation {
    condition = length(setintersection(keys(var.settings), [
      "CANDLED_SYMBOLS", "CANDLED_SHARDS", "CANDLED_SHARD", "CANDLED_SHARD_ADDRESS", "CANDLED_REST_WEIGHT_PER_MINUTE",
      "CANDLED_DATA_DIR", "CANDLED_GRPC_ADDRESS", "CANDLED_HTTP_ADDRESS",
    ])) == 0
    error_message = "Symbols and weight follow from shards and rest_weight_per_minute; addresses and the data directory are the manifests'."
  }
}

variable "storage_size" {
  description = "Size of each pod's volume. A symbol takes about 25 MB a year sealed; leave room for the journal and for compaction."
  type        = string
  default     = "10Gi"

  validation {
    condition     = can(regex("^[1-9][0-9]*(Mi|Gi|Ti)$", var.storage_size))
    error_message = "Write a size such as 10Gi."
  }
}

variable "storage_class_name" {
  description = "Storage class of the volumes; null takes the cluster's default."
  type        = string
  default     = null
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

variable "more_manifests" {
  description = "Files with further Kubernetes objects to deploy beside the base."
  type        = list(string)
  default     = []
}

variable "timeout_seconds" {
  description = "How long all pods may take to become ready before the deployment is undone."
  type        = number
  default     = 600
}
