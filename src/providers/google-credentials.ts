import type { Secret } from '../core/secret.ts'
import type { Grant } from '../oauth/token-request.ts'
import { externalAccountGrant } from './google-external-account.ts'
import { type GoogleFile, readGoogleFile } from './google-file.ts'
import { impersonatedGrant, readImpersonation } from './google-impersonation.ts'
import {
  type ServiceAccountKey,
  serviceAccountGrant,
  serviceAccountKey,
} from './google-service-account.ts'
import { authorizedUserGrant, workforceUserGrant } from './google-sign-in.ts'
import type { ProviderRules } from './provider-type.ts'

const NAME = {
  what: 'credential file',
  hint: 'Pass a file as gcloud writes it: --credential-file GOOGLE_APPLICATION_CREDENTIALS_JSON=PATH',
}

/** Credential files of Google, told apart by their `type`. */
const TYPES = [
  'service_account',
  'authorized_user',
  'external_account',
  'external_account_authorized_user',
  'impersonated_service_account',
]

/** A credential file of any type (application default credentials) that was read. */
export interface GoogleCredentials {
  /** What the file says about projects; '' where it says nothing. */
  readonly projectId: string
  /** Pays for requests and is named in them. */
  readonly quotaProjectId: string
  /** Reads the key of a service account, for what only its key can do; null for all other types. */
  readonly serviceAccount: (() => ServiceAccountKey) | null
  /** Throws `AppError` when a token could never come of the file. */
  readonly grant: (nowMs: number) => Grant
}

/**
 * Reads a credential file. The material under `key` is what a rotated refresh token is written to.
 *
 * @throws AppError `invalid_credential` when it is none.
 */
export function readGoogleCredentials(
  material: { readonly key: string; readonly json: Secret },
  rules: ProviderRules,
): GoogleCredentials {
  const file = readGoogleFile(material.json, NAME, rules)
  const type = file.optionalText('type')
  if (!TYPES.includes(type)) {
    throw file.refusal(`its "type" is none of ${TYPES.join(', ')}`)
  }
  const universe = file.optionalText('universe_domain') || 'googleapis.com'
  if (universe !== 'googleapis.com') {
    throw file.refusal('its "universe_domain" is not "googleapis.com"')
  }
  return {
    projectId: file.optionalText('project_id'),
    quotaProjectId: file.optionalText('quota_project_id'),
    serviceAccount: type === 'service_account' ? () => serviceAccountKey(file) : null,
    grant(nowMs) {
      if (type === 'external_account_authorized_user') return workforceUserGrant(file, material)
      if (type === 'impersonated_service_account')
        return impersonatedAccountGrant(file, nowMs, rules)
      return sourceGrant(file, nowMs, rules)
    },
  }
}

function impersonatedAccountGrant(file: GoogleFile, nowMs: number, rules: ProviderRules): Grant {
  const source = file.object('source_credentials')
  const impersonation = readImpersonation(file)
  if (source === null) throw file.refusal('the field "source_credentials" is missing')
  if (impersonation === null) {
    throw file.refusal('the field "service_account_impersonation_url" is missing')
  }
  return impersonatedGrant(sourceGrant(source, nowMs, rules), impersonation)
}

/** The grant of a credential that may stand by itself or behind an impersonation. */
function sourceGrant(file: GoogleFile, nowMs: number, rules: ProviderRules): Grant {
  const type = file.text('type')
  if (type === 'service_account') return serviceAccountGrant(serviceAccountKey(file), nowMs)
  if (type === 'authorized_user') return authorizedUserGrant(file)
  if (type === 'external_account') return externalAccountGrant(file, rules)
  throw file.refusal(`"source_credentials" of type "${type.slice(0, 64)}" cannot be used`)
}
