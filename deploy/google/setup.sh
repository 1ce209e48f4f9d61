#!/usr/bin/env bash
# What Google has to know before a release can be pushed without a key: once, by somebody who owns the project.
# It may be run again at any time: what is there already is kept, and set to what is written here.
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

# The pool: whom this project takes for somebody.
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

# The repository: a tag never moves, and what no tag names is kept for a month.
if gcloud artifacts repositories describe "$REPOSITORY" "${at_repository[@]}" >/dev/null 2>&1; then
  gcloud artifacts repositories update "$REPOSITORY" "${at_repository[@]}" --immutable-tags
else
  gcloud artifacts repositories create "$REPOSITORY" "${at_repository[@]}" --repository-format=docker --immutable-tags
fi
policies=$(mktemp)
trap 'rm -f -- "$policies"' EXIT
cat >"$policies" <<'JSON'
[{"name": "untagged", "action": {"type": "Delete"}, "condition": {"tagState": "untagged", "olderThan": "30d"}}]
JSON
gcloud artifacts repositories set-cleanup-policies "$REPOSITORY" "${at_repository[@]}" --policy="$policies" --no-dry-run

# Who pushes: the repository's runs, by themselves or as a service account.
pusher=principalSet://iam.googleapis.com/$pool_name/attribute.repository_id/$REPOSITORY_ID
account=
if [[ -n $SERVICE_ACCOUNT ]]; then
  account=$SERVICE_ACCOUNT@$PROJECT.iam.gserviceaccount.com
  gcloud iam service-accounts describe "$account" --project="$PROJECT" >/dev/null 2>&1 ||
    gcloud iam service-accounts create "$SERVICE_ACCOUNT" --project="$PROJECT" --display-name="Pushes releases"
  gcloud iam service-accounts add-iam-policy-binding "$account" --project="$PROJECT" \
    --role=roles/iam.workloadIdentityUser --member="$pusher"
  pusher=serviceAccount:$account
fi
gcloud artifacts repositories add-iam-policy-binding "$REPOSITORY" "${at_repository[@]}" \
  --role=roles/artifactregistry.writer --member="$pusher"

# Who deploys to Cloud Run: whoever pushes. The service runs as an account of its own, which may do nothing else.
stages=()
if [[ -n $RUNTIME_ACCOUNT ]]; then
  runtime=$RUNTIME_ACCOUNT@$PROJECT.iam.gserviceaccount.com
  gcloud services enable run.googleapis.com monitoring.googleapis.com --project="$PROJECT"
  gcloud iam service-accounts describe "$runtime" --project="$PROJECT" >/dev/null 2>&1 ||
    gcloud iam service-accounts create "$RUNTIME_ACCOUNT" --project="$PROJECT" --display-name="Runs the service"
  gcloud iam service-accounts add-iam-policy-binding "$runtime" --project="$PROJECT" \
    --role=roles/iam.serviceAccountUser --member="$pusher"
  for role in run.developer run.invoker monitoring.viewer; do
    gcloud projects add-iam-policy-binding "$PROJECT" --role="roles/$role" --member="$pusher" --condition=None
  done
  stages=("gh variable set STAGING --repo $GITHUB_REPOSITORY --body staging"
    "gh variable set PRODUCTION --repo $GITHUB_REPOSITORY --body production")
fi

printf '%s\n' "" "Done. Tell the workflow, and wait 5 minutes before the first release:" \
  "gh variable set REGISTRY --repo $GITHUB_REPOSITORY --body $LOCATION-docker.pkg.dev/$PROJECT/$REPOSITORY" \
  "gh variable set WORKLOAD_IDENTITY_PROVIDER --repo $GITHUB_REPOSITORY --body $pool_name/providers/$PROVIDER" \
  ${account:+"gh variable set SERVICE_ACCOUNT --repo $GITHUB_REPOSITORY --body $account"} "${stages[@]}"
