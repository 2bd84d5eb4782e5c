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
  description = "Kubernetes version of the control plane and the nodes. null makes the cluster with the newest that EKS offers and stays there; a plan then says when there is a newer one. Raise it by one minor version at a time."
  type        = string
  default     = null

  validation {
    condition     = var.kubernetes_version == null || can(regex("^1\\.[0-9]{2}$", var.kubernetes_version)) && try(tonumber(split(".", var.kubernetes_version)[1]) >= 32, false)
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
  description = "Availability zones, each with nodes of its own: a volume lives in one zone, and its pod can only run there. Empty asks AWS for the region's zones and takes the first two; a cluster that is meant to last names them. Never change the order: subnets are numbered by it."
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

variable "architecture" {
  description = "Architecture of the nodes, and so of the image: amd64, or arm64 for Graviton."
  type        = string
  default     = "amd64"

  validation {
    condition     = contains(["amd64", "arm64"], var.architecture)
    error_message = "Choose amd64 or arm64."
  }
}

variable "instance_types" {
  description = "Types of the nodes; with spot the more, the better. Empty takes m7i.large, or m7g.large for arm64."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for type in var.instance_types : can(regex("^[a-z0-9-]+\\.[a-z0-9-]+$", type))])
    error_message = "Write types such as m7i.large."
  }
  validation {
    condition     = alltrue([for type in var.instance_types : can(regex("^[a-z]+[0-9]+[a-z]*g[a-z]*\\.", type)) == (var.architecture == "arm64")])
    error_message = "Types with a g after their number, such as m7g.large, are Graviton: they go with architecture = \"arm64\", and only they do."
  }
}

variable "spot" {
  description = "Take spot instances. AWS takes them back with two minutes' notice: each time, the pods of that node are away for some seconds and fetch what they missed."
  type        = bool
  default     = false
}

variable "nodes_per_zone" {
  description = "Nodes in each zone. Nothing else changes the number, so that this holds at every apply."
  type        = number
  default     = 1

  validation {
    condition     = var.nodes_per_zone >= 1 && floor(var.nodes_per_zone) == var.nodes_per_zone
    error_message = "Every zone needs one node at least: a pod whose volume is there can only run there."
  }
}

variable "auto_mode" {
  description = "Leave nodes, volumes, load balancers and their repair to EKS Auto Mode, which costs some 12 % over the instances and replaces each node within 21 days. Then the variables of the nodes have no effect. Decide before the first apply."
  type        = bool
  default     = false
}

variable "deletion_protection" {
  description = "Refuse to delete the cluster until this is false and applied."
  type        = bool
  default     = true
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
  description = "IAM roles or users that administer the cluster; whoever applies ../eks-service must be among them."
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

variable "history_bucket" {
  description = "Make a bucket that the history is copied to, and give candled's pods the right to it. It is kept when the cluster goes, until somebody empties it."
  type        = bool
  default     = true
}

variable "history_version_days" {
  description = "Days in which a deleted object of the history can be restored."
  type        = number
  default     = 30

  validation {
    condition     = var.history_version_days >= 1 && floor(var.history_version_days) == var.history_version_days
    error_message = "Keep versions for a whole number of days, one at least."
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

variable "tags" {
  description = "Further tags of everything that AWS tags."
  type        = map(string)
  default     = {}
}
