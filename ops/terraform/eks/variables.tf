variable "name" {
  description = "Name of the cluster, and the beginning of the names of what belongs to it."
  type        = string
  default     = "candled"

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,30}$", var.name))
    error_message = "A name has 2 to 31 small letters, digits and hyphens and begins with a letter."
  }
}

variable "region" {
  description = "AWS region. The exchange's endpoints answer fastest from ap-northeast-1, and some regions it refuses by law."
  type        = string

  validation {
    condition     = can(regex("^[a-z]{2}(-[a-z]+)+-[0-9]$", var.region))
    error_message = "Write a region such as eu-central-1."
  }
}

variable "kubernetes_version" {
  description = "Kubernetes version of the control plane and the nodes. EKS gives standard support for 14 months (1.35: until 27 March 2027) and then moves the cluster on by itself; raise it by one minor version at a time."
  type        = string
  default     = "1.35"

  validation {
    condition     = can(regex("^1\\.[0-9]{2}$", var.kubernetes_version)) && try(tonumber(split(".", var.kubernetes_version)[1]) >= 32, false)
    error_message = "Choose 1.32 or later: the pods learn their shard from a label that is stable since then."
  }
}

variable "vpc_cidr" {
  description = "Addresses of the VPC; subnets take a sixteenth of it each."
  type        = string
  default     = "10.60.0.0/16"

  validation {
    condition     = can(cidrsubnet(var.vpc_cidr, 4, 15)) && try(tonumber(split("/", var.vpc_cidr)[1]) >= 16 && tonumber(split("/", var.vpc_cidr)[1]) <= 20, false)
    error_message = "Write an IPv4 block between /16 and /20 such as 10.60.0.0/16."
  }
}

variable "zones" {
  description = "Availability zones, each with nodes of its own: a volume lives in one zone, and its pod can only run there. Empty takes the region's a and b. Never change the order: subnets are numbered by it."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for zone in var.zones : startswith(zone, var.region) && can(regex("[a-z]$", zone))])
    error_message = "List zones of the region, such as eu-central-1a."
  }
  validation {
    condition     = length(var.zones) == 0 || length(distinct(var.zones)) >= 2 && length(var.zones) <= 4
    error_message = "EKS asks for 2 zones at least; 4 are the most that the address plan holds."
  }
}

variable "nat_gateway_per_zone" {
  description = "A NAT gateway in each zone rather than one for all. Each is a public address with a request limit of its own at the exchange."
  type        = bool
  default     = false
}

variable "instance_type" {
  description = "Type of the nodes (x86-64)."
  type        = string
  default     = "m7i.large"

  validation {
    condition     = can(regex("^[a-z0-9-]+\\.[a-z0-9-]+$", var.instance_type)) && !can(regex("^[a-z]+[0-9]+[a-z]*g[a-z]*\\.", var.instance_type))
    error_message = "Choose an x86-64 type such as m7i.large: nodes and image are not made for arm64."
  }
}

variable "nodes_per_zone" {
  description = "Nodes in each zone: the usual number and the most."
  type        = object({ desired = number, max = number })
  default     = { desired = 1, max = 2 }

  validation {
    condition     = var.nodes_per_zone.desired >= 1 && var.nodes_per_zone.max >= var.nodes_per_zone.desired
    error_message = "Every zone needs one node at least, and the most cannot be less than the usual number."
  }
}

variable "public_access_cidrs" {
  description = "Addresses that reach the cluster's API from the internet. None by default: the API then answers inside the VPC only."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for cidr in var.public_access_cidrs : can(cidrnetmask(cidr)) && !endswith(cidr, "/0")])
    error_message = "List IPv4 blocks such as 203.0.113.7/32; the whole internet is not accepted."
  }
}

variable "private_access_cidrs" {
  description = "Addresses outside the VPC that reach the cluster's API through a VPN or a peered network, such as the runner that applies this."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for cidr in var.private_access_cidrs : can(cidrnetmask(cidr)) && !endswith(cidr, "/0")])
    error_message = "List IPv4 blocks such as 10.0.4.0/24."
  }
}

variable "admin_principal_arns" {
  description = "IAM roles or users that administer the cluster; the one that applies this must be among them in order to deploy."
  type        = list(string)

  validation {
    condition     = length(var.admin_principal_arns) > 0 && alltrue([for arn in var.admin_principal_arns : can(regex("^arn:aws[a-z-]*:iam::[0-9]{12}:(role|user)/.+$", arn))])
    error_message = "List at least one ARN such as arn:aws:iam::123456789012:role/platform."
  }
}

variable "viewer_principal_arns" {
  description = "IAM roles or users that may look at candled's namespace and change nothing."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for arn in var.viewer_principal_arns : can(regex("^arn:aws[a-z-]*:iam::[0-9]{12}:(role|user)/.+$", arn))])
    error_message = "List ARNs such as arn:aws:iam::123456789012:role/support."
  }
  validation {
    condition     = length(setintersection(var.viewer_principal_arns, var.admin_principal_arns)) == 0
    error_message = "An administrator sees everything already: EKS takes one entry for each role or user."
  }
}

variable "log_retention_days" {
  description = "How long the control plane's and the network's logs are kept."
  type        = number
  default     = 365

  validation {
    condition     = contains([30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 3653], var.log_retention_days)
    error_message = "CloudWatch keeps logs for 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827 or 3653 days."
  }
}

variable "deploy" {
  description = "Deploy candled too. Say false to make the cluster alone and deploy with ops/k8s/overlays/eks."
  type        = bool
  default     = true
}

variable "push_image" {
  description = "Build the image on the machine that applies this, and push it to the registry before deploying (needs docker and the aws command). Say false if a pipeline pushes it."
  type        = bool
  default     = true
}

variable "image_version" {
  description = "Version of candled to deploy, as in pyproject.toml. It is a tag that can be pushed once."
  type        = string
  default     = "0.1.0"
}

variable "shards" {
  description = "Symbols of each pod."
  type        = list(list(string))
  default     = [["BTCUSDT", "ETHUSDT", "PEPEUSDT"]]
}

variable "settings" {
  description = "Further settings of the daemon as CANDLED_* variables."
  type        = map(string)
  default     = {}
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
  description = "Deploy the PodMonitor, alert rules and Grafana dashboard too. The cluster must have the Prometheus operator, so say true after installing it."
  type        = bool
  default     = false
}

variable "monitoring_labels" {
  description = "Labels that the Prometheus operator asks of what it takes up, such as { release = \"kube-prometheus-stack\" }."
  type        = map(string)
  default     = {}
}

variable "storage_size" {
  description = "Size of each pod's volume."
  type        = string
  default     = "20Gi"
}

variable "memory_limit" {
  description = "Memory limit of a pod; half of it is requested."
  type        = string
  default     = "1024Mi"
}

variable "tags" {
  description = "Further tags of everything that AWS tags."
  type        = map(string)
  default     = {}
}
