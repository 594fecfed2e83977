#!/usr/bin/env bash
# Undoes a dev reset without the portal, from its receipt alone: docs/undo-by-hand.sh receipt.json
# Needs bash, jq and the AWS CLI, with credentials for both buckets and the lock table.
#
# Nothing is overwritten that the reset did not leave: what is put back goes only where nothing stands, and what is
# taken away or replaced must still have the SHA-256 that the receipt names. Whatever differs is told and left. States
# are encrypted as their bucket does it by default: add --server-side-encryption to put_back where they need a key.
set -euo pipefail

receipt=${1:?Usage: docs/undo-by-hand.sh receipt.json}
of() { jq -r "$1" "$receipt"; }
requests=$(of .requestsBucket) states=$(of .stateBucket) mode=$(of .lockMode) table=$(of '.lockTable // ""')
work=$(mktemp -d)
held=() # what to run, last first, to give the locks back

finish() {
  for ((i = ${#held[@]} - 1; i >= 0; i--)); do eval "${held[i]}" || echo "left: ${held[i]}"; done
  rm -rf "$work"
}
trap finish EXIT

# Terraform's lock of every state, so that nobody applies meanwhile. Somebody else's ends this script.
jq -r '.states[] | [.key, .lockId, .digestId] | @tsv' "$receipt" >"$work/states"
while IFS=$'\t' read -r key lock _; do
  id=$(cat /proc/sys/kernel/random/uuid 2>/dev/null || uuidgen)
  jq -cn --arg id "$id" --arg who "$(id -un)@$(hostname)" --arg path "$lock" --arg at "$(date -u +%Y-%m-%dT%H:%M:%SZ)" \
    '{ID: $id, Operation: "undo by hand", Info: "", Who: $who, Version: "", Created: $at, Path: $path}' >"$work/lock"
  if [[ $mode != dynamodb ]]; then
    etag=$(aws s3api put-object --bucket "$states" --key "$key.tflock" --body "$work/lock" --if-none-match '*' \
      --query ETag --output text)
    held+=("aws s3api delete-object --bucket $(printf %q "$states") --key $(printf %q "$key.tflock") \
      --if-match $(printf %q "$etag") >/dev/null")
  fi
  if [[ $mode != lockfile ]]; then
    item=$(jq -cn --arg id "$lock" --rawfile info "$work/lock" '{LockID: {S: $id}, Info: {S: ($info | rtrimstr("\n"))}}')
    aws dynamodb put-item --table-name "$table" --item "$item" --condition-expression 'attribute_not_exists(LockID)'
    name=$(jq -cn --arg id "$lock" '{LockID: {S: $id}}')
    ours=$(jq -cn --argjson item "$item" '{":ours": $item.Info}')
    held+=("aws dynamodb delete-item --table-name $(printf %q "$table") --key $(printf %q "$name") \
      --condition-expression 'Info = :ours' --expression-attribute-values $(printf %q "$ours")")
  fi
done <"$work/states"

# Puts a backup back where nothing stands, as long as it is what stood there: by its SHA-256, where the receipt has one.
put_back() { # bucket, backup, key, SHA-256 or -
  aws s3api get-object --bucket "$1" --key "$2" "$work/body" >/dev/null
  if [[ $4 != - && $(sha256sum "$work/body" | cut -d' ' -f1) != "$4" ]]; then
    echo "left $3: its backup $2 is not what stood there"
    return 1
  fi
  if aws s3api put-object --bucket "$1" --key "$3" --body "$work/body" --content-type application/json \
    --if-none-match '*' >/dev/null 2>"$work/why"; then
    echo "put back $3"
  else
    echo "left $3: $(tail -n 1 "$work/why")"
    return 1
  fi
}

# The ETag of an object as long as its content is what the reset left there.
etag_of() { # bucket, key, SHA-256
  local etag
  etag=$(aws s3api get-object --bucket "$1" --key "$2" --query ETag --output text "$work/there" 2>/dev/null) || return 1
  [[ $(sha256sum "$work/there" | cut -d' ' -f1) == "$3" ]] && echo "$etag"
}

steps() {
  jq -r --arg action "$1" \
    '.done[] | select(.action == $action) | [.key, .backup // "-", .before // "-", .after // "-"] | @tsv' "$receipt"
}

while IFS=$'\t' read -r key backup before _; do
  put_back "$requests" "$backup" "$key" "$before" || true
done < <(steps "remove the entry")

# A request first, and only then is its copy in history/ taken away, or the older one put back.
while IFS=$'\t' read -r key backup before _; do
  put_back "$requests" "$backup" "$key" "$before" || continue
  archived="history/${key#requests/}"
  line=$(jq -r --arg key "$archived" \
    '.done[] | select(.key == $key and (.action | test("history$"))) | [.action, .backup // "-", .after] | @tsv' "$receipt")
  IFS=$'\t' read -r action older after <<<"$line"
  case $action in
    "copy to history")
      if etag=$(etag_of "$requests" "$archived" "$after"); then
        aws s3api delete-object --bucket "$requests" --key "$archived" --if-match "$etag" >/dev/null
        echo "took away $archived"
      fi ;;
    "replace the older copy in history")
      if etag=$(etag_of "$requests" "$archived" "$after"); then
        aws s3api get-object --bucket "$requests" --key "$older" "$work/body" >/dev/null
        aws s3api put-object --bucket "$requests" --key "$archived" --body "$work/body" \
          --content-type application/json --if-match "$etag" >/dev/null
        echo "put back $archived"
      fi ;;
  esac
done < <(steps "remove the request")

# The states, and each digest only once its state is back: the other way round Terraform would refuse the state.
back=" "
while IFS=$'\t' read -r key backup before _; do
  put_back "$states" "$backup" "$key" "$before" && back+="$key "
done < <(steps "remove the state")
while IFS=$'\t' read -r key backup _ after; do
  if etag=$(etag_of "$states" "$key" "$after"); then
    aws s3api get-object --bucket "$states" --key "$backup" "$work/body" >/dev/null
    name=$(jq -r --arg key "$key" '.states[] | select(.key == $key) | .digestId' "$receipt")
    item=$(jq -cn --arg id "$name" '{LockID: {S: $id}}')
    [[ $mode == lockfile ]] || aws dynamodb delete-item --table-name "$table" --key "$item"
    aws s3api put-object --bucket "$states" --key "$key" --body "$work/body" --content-type application/json \
      --if-match "$etag" >/dev/null
    echo "put back $key"
    back+="$key "
  else
    echo "left $key: somebody applied again"
  fi
done < <(steps "write the state")
jq -r '.states[] | select(.digest != null) | [.key, .digestId, .digest] | @tsv' "$receipt" |
  while IFS=$'\t' read -r key name digest; do
    [[ $back == *" $key "* ]] || continue
    item=$(jq -cn --arg id "$name" --arg digest "$digest" '{LockID: {S: $id}, Digest: {S: $digest}}')
    aws dynamodb put-item --table-name "$table" --item "$item" --condition-expression 'attribute_not_exists(LockID)'
    echo "put back the digest of $key"
  done
