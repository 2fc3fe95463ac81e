import { AppError } from '../core/errors.ts'
import type { ProviderRecord } from '../core/provider.ts'
import type { Grant } from '../oauth/token-request.ts'
import { readGoogleCredentials } from './google-credentials.ts'
import { googleFileType } from './google-file.ts'
import { metadataGrant } from './google-metadata.ts'
import {
  parseServiceAccountKey,
  type ServiceAccountKey,
  selfSignedGrant,
  serviceAccountGrant,
  serviceAccountProject,
} from './google-service-account.ts'
import type { ProviderRules, RefreshStrategy } from './provider-type.ts'

/** A service account's key file. */
export const KEY_FILE = 'GOOGLE_SERVICE_ACCOUNT_JSON'
/** Any file that gcloud writes. */
export const ANY_FILE = 'GOOGLE_APPLICATION_CREDENTIALS_JSON'

/** Files whose grant OpenShell has a name for; exchange, impersonation and machines have none. */
const STRATEGIES: ReadonlyMap<string, RefreshStrategy> = new Map([
  ['service_account', 'google_service_account_jwt'],
  ['authorized_user', 'oauth2_refresh_token'],
  ['external_account_authorized_user', 'oauth2_refresh_token'],
])

/** Where a provider's tokens come from, and what that says about projects. */
export interface VertexSource {
  /** '' when nothing says it. */
  readonly projectId: string
  /** Named in each request; '' for none. */
  readonly quotaProjectId: string
  /** Throws `AppError` when a token could never come of it. */
  readonly grant: (nowMs: number) => Grant
}

/**
 * The source of a provider's tokens: a service account's key, any credential file, or the metadata
 * server of the machine that the gateway runs on, which has to be asked for by name.
 *
 * @throws AppError `invalid_credential` when there is none, or two that differ.
 */
export function vertexSource(provider: ProviderRecord, rules: ProviderRules): VertexSource {
  const keyFile = provider.material.get(KEY_FILE)
  const anyFile = provider.material.get(ANY_FILE)
  if (keyFile !== undefined && anyFile !== undefined && !keyFile.equals(anyFile)) {
    throw new AppError('invalid_credential', `Both ${KEY_FILE} and ${ANY_FILE} are given`, {
      hint: `Take one away: --credential ${KEY_FILE}=`,
    })
  }
  if (keyFile !== undefined) {
    return {
      projectId: serviceAccountProject(keyFile, rules),
      quotaProjectId: '',
      grant: nowMs => accountGrant(provider, parseServiceAccountKey(keyFile, rules), nowMs),
    }
  }
  if (anyFile !== undefined) {
    const { serviceAccount, ...credentials } = readGoogleCredentials(
      { key: ANY_FILE, json: anyFile },
      rules,
    )
    const grant = (nowMs: number) => {
      if (serviceAccount !== null) return accountGrant(provider, serviceAccount(), nowMs)
      checkNotSelfSigned(provider)
      return credentials.grant(nowMs)
    }
    return { ...credentials, grant }
  }
  const host = provider.config.get('GCE_METADATA_HOST')?.trim() ?? ''
  const grant = () => {
    // Without one there may still be a refresh that a person configured.
    if (host === '') throw missing()
    checkNotSelfSigned(provider)
    return metadataGrant(host, rules)
  }
  return { projectId: '', quotaProjectId: '', grant }
}

/** What the grant of a provider's source is called; '' also where it cannot be told. */
export function vertexStrategy({ material }: ProviderRecord): RefreshStrategy {
  if (material.has(KEY_FILE)) return 'google_service_account_jwt'
  const anyFile = material.get(ANY_FILE)
  return anyFile === undefined ? '' : (STRATEGIES.get(googleFileType(anyFile)) ?? '')
}

/** A service account may sign its tokens itself: always, or while Google's endpoint is down. */
function accountGrant(provider: ProviderRecord, key: ServiceAccountKey, nowMs: number): Grant {
  const setting = selfSigned(provider)
  if (setting === 'always') return selfSignedGrant(key, nowMs)
  const grant = serviceAccountGrant(key, nowMs)
  return setting === 'fallback' ? { ...grant, fallback: selfSignedGrant(key, nowMs) } : grant
}

function selfSigned(provider: ProviderRecord): string {
  const setting = provider.config.get('VERTEX_SELF_SIGNED_JWT')?.trim() ?? ''
  if (['', 'always', 'fallback'].includes(setting)) return setting
  throw new AppError('invalid_config', 'VERTEX_SELF_SIGNED_JWT is neither "always" nor "fallback"')
}

function checkNotSelfSigned(provider: ProviderRecord): void {
  if (selfSigned(provider) === '') return
  throw new AppError('invalid_config', 'VERTEX_SELF_SIGNED_JWT needs a service account key')
}

function missing(): AppError {
  return new AppError('invalid_credential', `The credential ${KEY_FILE} is missing`, {
    hint: `Add --credential-file ${KEY_FILE}=PATH, or --credential-file ${ANY_FILE}=PATH, or, on Google Cloud, --config GCE_METADATA_HOST=metadata.google.internal`,
  })
}
