# Versions that every apply uses. `terraform init` adds hashes of the providers for one platform, `make terraform-lock`
# for all that the project supports: commit them.

provider "registry.terraform.io/hashicorp/aws" {
  version     = "6.69.1"
  constraints = "~> 6.69"
}
