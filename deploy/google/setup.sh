#!/usr/bin/env bash
# Set-up of Google for pushing releases without a key. An owner of the project runs it once.
# It may be run again at any time: existing resources are kept and updated.
set -euo pipefail

# `dagger call setup-google` writes the settings here.

at_pool=(--location=global --project="$PROJECT")
at_provider=("${at_pool[@]}" --workload-identity-pool="$POOL")
at_repository=(--location="$LOCATION" --project="$PROJECT")
number=$(gcloud projects describe "$PROJECT" --format='value(projectNumber)')
pool_name=projects/$number/locations/global/workloadIdentityPools/$POOL

gcloud services enable iam.googleapis.com iamcredentials.googleapis.com sts.googleapis.com \
  artifactregistry.googleapis.com --project="$PROJECT"

# Prints ACTIVE, DELETED (for 30 days, in which the name stays taken), or nothing.
state() { gcloud "$@" --format='value(state)' 2>/dev/null || true; }

# The pool: the identities that this project trusts.
case $(state iam workload-identity-pools describe "$POOL" "${at_pool[@]}") in
  ACTIVE) ;;
  DELETED) gcloud iam workload-identity-pools undelete "$POOL" "${at_pool[@]}" ;;
  *) gcloud iam workload-identity-pools create "$POOL" "${at_pool[@]}" --display-name="Releases" ;;
esac

# The provider: GitHub says who runs a job, and the condition lets in one repository's version tags only.
trust=(--issuer-uri="https://token.actions.githubusercontent.com" --attribute-mapping="$MAPPING"
  --attribute-condition="$CONDITION")
case $(state iam workload-identity-pools providers describe "$PROVIDER" "${at_provider[@]}") in
  ACTIVE) gcloud iam workload-identity-pools providers update-oidc "$PROVIDER" "${at_provider[@]}" "${trust[@]}" ;;
  DELETED)
    gcloud iam workload-identity-pools providers undelete "$PROVIDER" "${at_provider[@]}"
    gcloud iam workload-identity-pools providers update-oidc "$PROVIDER" "${at_provider[@]}" "${trust[@]}"
    ;;
  *) gcloud iam workload-identity-pools providers create-oidc "$PROVIDER" "${at_provider[@]}" "${trust[@]}" ;;
esac

# The repository: a tag never moves. Nothing is cleaned up by age: SBOM, provenance and signature of a release have no tag,
# and a policy for what has none would take them; earlier versions of this script made one.
if gcloud artifacts repositories describe "$REPOSITORY" "${at_repository[@]}" >/dev/null 2>&1; then
  gcloud artifacts repositories update "$REPOSITORY" "${at_repository[@]}" --immutable-tags
  gcloud artifacts repositories delete-cleanup-policies "$REPOSITORY" "${at_repository[@]}" --policynames=untagged \
    >/dev/null 2>&1 || true
else
  gcloud artifacts repositories create "$REPOSITORY" "${at_repository[@]}" --repository-format=docker --immutable-tags
fi

members=principalSet://iam.googleapis.com/$pool_name
address() { printf '%s@%s.iam.gserviceaccount.com' "$1" "$PROJECT"; }

# Makes an account unless it is there: NAME, and what it does.
account() {
  gcloud iam service-accounts describe "$(address "$1")" --project="$PROJECT" >/dev/null 2>&1 ||
    gcloud iam service-accounts create "$1" --project="$PROJECT" --display-name="$2"
}

# Lets runs be an account: NAME, and which runs.
impersonated() {
  gcloud iam service-accounts add-iam-policy-binding "$(address "$1")" --project="$PROJECT" \
    --role=roles/iam.workloadIdentityUser --member="$2"
}

# Who pushes: the repository's runs, by themselves or as a service account, which may do nothing else.
pusher=$members/attribute.repository_id/$REPOSITORY_ID
if [[ -n $SERVICE_ACCOUNT ]]; then
  account "$SERVICE_ACCOUNT" "Pushes releases"
  impersonated "$SERVICE_ACCOUNT" "$pusher"
  pusher=serviceAccount:$(address "$SERVICE_ACCOUNT")
fi
gcloud artifacts repositories add-iam-policy-binding "$REPOSITORY" "${at_repository[@]}" \
  --role=roles/artifactregistry.writer --member="$pusher"

# Who deploys to Cloud Run: an account for staging and one for production, each for the runs in GitHub's environment of that
# name only, and each for its own service. The service is made here, as the right to make one is about the whole project;
# it runs as an account of its own, which may do nothing else. To look, and to wait for an operation, is the project's.
deploys() {
  local deployer service=$2 environment=$3
  deployer=serviceAccount:$(address "$1")
  account "$1" "Deploys to $environment"
  impersonated "$1" "$members/attribute.environment/$REPOSITORY_ID:$environment"
  gcloud iam service-accounts add-iam-policy-binding "$runtime" --project="$PROJECT" \
    --role=roles/iam.serviceAccountUser --member="$deployer"
  gcloud run services describe "$service" "${at_service[@]}" >/dev/null 2>&1 ||
    gcloud run deploy "$service" "${at_service[@]}" --image=us-docker.pkg.dev/cloudrun/container/hello \
      --no-allow-unauthenticated --service-account="$runtime" --quiet
  for role in run.developer run.invoker; do
    gcloud run services add-iam-policy-binding "$service" "${at_service[@]}" --role="roles/$role" --member="$deployer"
  done
  gcloud artifacts repositories add-iam-policy-binding "$REPOSITORY" "${at_repository[@]}" \
    --role=roles/artifactregistry.reader --member="$deployer"
  for role in run.viewer monitoring.viewer; do
    gcloud projects add-iam-policy-binding "$PROJECT" --role="roles/$role" --member="$deployer" --condition=None
  done
}

variable() { printf 'gh variable set %s --repo %s --body %s\n' "$1" "$GITHUB_REPOSITORY" "$2"; }

if [[ -n $RUNTIME_ACCOUNT ]]; then
  at_service=(--region="$REGION" --project="$PROJECT")
  runtime=$(address "$RUNTIME_ACCOUNT")
  gcloud services enable run.googleapis.com monitoring.googleapis.com --project="$PROJECT"
  account "$RUNTIME_ACCOUNT" "Runs the service"
  # Earlier versions of this script let the pushing account deploy everything.
  for role in run.developer run.invoker monitoring.viewer; do
    gcloud projects remove-iam-policy-binding "$PROJECT" --role="roles/$role" --member="$pusher" --condition=None \
      >/dev/null 2>&1 || true
  done
  gcloud iam service-accounts remove-iam-policy-binding "$runtime" --project="$PROJECT" \
    --role=roles/iam.serviceAccountUser --member="$pusher" >/dev/null 2>&1 || true
  deploys "$STAGING_ACCOUNT" "$STAGING_SERVICE" staging
  deploys "$PRODUCTION_ACCOUNT" "$PRODUCTION_SERVICE" production
fi

printf '%s\n' "" "Done. Set these variables of the workflow, and wait 5 minutes before the first release:"
variable REGISTRY "$LOCATION-docker.pkg.dev/$PROJECT/$REPOSITORY"
variable WORKLOAD_IDENTITY_PROVIDER "$pool_name/providers/$PROVIDER"
[[ -z $SERVICE_ACCOUNT ]] || variable SERVICE_ACCOUNT "$(address "$SERVICE_ACCOUNT")"
if [[ -n $RUNTIME_ACCOUNT ]]; then
  variable STAGING staging
  variable STAGING_ACCOUNT "$(address "$STAGING_ACCOUNT")"
  variable PRODUCTION production
  variable PRODUCTION_ACCOUNT "$(address "$PRODUCTION_ACCOUNT")"
fi

cat <<TEXT

Say who may release. Only administrators push, move or delete a version's tag then.
Without it, everybody who may push to the repository can publish a version, and deploy it to staging.
gh api --method POST repos/$GITHUB_REPOSITORY/rulesets --input - <<'JSON'
{"name": "versions", "target": "tag", "enforcement": "active",
 "conditions": {"ref_name": {"include": ["refs/tags/v*"], "exclude": []}},
 "rules": [{"type": "creation"}, {"type": "update"}, {"type": "deletion"}],
 "bypass_actors": [{"actor_id": 5, "actor_type": "RepositoryRole", "bypass_mode": "always"}]}
JSON

Say who may bring a version to production, and from which refs: REVIEWER is the number that
\`gh api users/LOGIN --jq .id\` prints. Google's account for production takes jobs of this environment only.
Without it, any job that names the environment, on any branch, is in it, and no approval is required.
gh api --method PUT repos/$GITHUB_REPOSITORY/environments/production --input - <<'JSON'
{"reviewers": [{"type": "User", "id": REVIEWER}], "prevent_self_review": true,
 "deployment_branch_policy": {"protected_branches": false, "custom_branch_policies": true}}
JSON
gh api --method POST repos/$GITHUB_REPOSITORY/environments/production/deployment-branch-policies -f name='v*' -f type=tag

Say who has to have signed what is deployed: write this into deploy/environments.toml, once the first signed release is out.
Without it, everybody who may push to the registry can have an image deployed.
[signature]
repository_id = "$REPOSITORY_ID"
owner_id = "$OWNER_ID"
workflow = "$WORKFLOW" # at the tag of the version
TEXT
