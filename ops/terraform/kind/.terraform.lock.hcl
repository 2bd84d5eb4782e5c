# Versions that every apply uses. `terraform init` adds hashes of the providers for one platform, `make terraform-lock`
# for all that the project supports: commit them.

provider "registry.terraform.io/hashicorp/helm" {
  version     = "3.3.0"
  constraints = "~> 3.3"
}

provider "registry.terraform.io/hashicorp/kubernetes" {
  version     = "3.4.0"
  constraints = "~> 3.4"
}

provider "registry.terraform.io/tehcyx/kind" {
  version     = "0.11.0"
  constraints = "~> 0.11"
}
