import { Secret } from '../core/secret.ts'
import type { ServiceAccounts } from './accounts.ts'

const POOL =
  '//iam.googleapis.com/projects/100000000001/locations/global/workloadIdentityPools/lab/providers/lab'
const WORKFORCE_POOL = '//iam.googleapis.com/locations/global/workforcePools/lab/providers/lab'
const PROJECT_ID = 'demo-project'

/** A person's sign-in with a pretend gcloud. */
interface SignIn {
  readonly email: string
  readonly clientId: string
  readonly clientSecret: Secret
  refreshToken: Secret
}

/** Keys of the pretend AWS machine. */
interface MachineKeys {
  readonly accessKeyId: string
  readonly secretAccessKey: Secret
  readonly sessionToken: Secret
}

/** Everybody besides service accounts whom the pretend Google knows. */
export interface GoogleIdentities {
  /** The audience of the pretend workload identity provider. */
  readonly pool: string
  readonly user: SignIn
  /** Whoever redeems its refresh token gets a new one, and the old one is dead. */
  readonly workforceUser: SignIn
  /** What the URL source of subject tokens must be shown. */
  readonly sourceHeader: Secret
  readonly machine: MachineKeys
  /** Puts another refresh token in the place of the workforce user's; answers it. */
  rotate(): Secret
  /**
   * A credential file as JSON text, or null when there is no such kind. `parameters` may name the
   * `file` or `command` of a source, and the service account to `impersonate`.
   */
  credentials(kind: string, parameters?: Readonly<Record<string, string>>): string | null
}

/** Makes them up. */
export function createGoogleIdentities(deps: {
  readonly origin: string
  readonly newId: () => string
  readonly accounts: ServiceAccounts
}): GoogleIdentities {
  const { origin, newId } = deps
  const signIn = (email: string): SignIn => ({
    email,
    clientId: `lab-${newId()}.apps.googleusercontent.com`,
    clientSecret: new Secret(`lab-secret-${newId()}`),
    refreshToken: new Secret(`1//lab-${newId()}${newId()}`),
  })
  const user = signIn('person@lab.example')
  const workforceUser = signIn('principal://workforce/person')
  const sourceHeader = new Secret(newId())
  const world = { origin, sourceHeader, user, workforceUser, accounts: deps.accounts }
  return {
    ...{ pool: POOL, user, workforceUser, sourceHeader },
    machine: {
      accessKeyId: `ASIALAB${newId()
        .replaceAll(/[^A-Za-z0-9]/g, '')
        .toUpperCase()}`,
      secretAccessKey: new Secret(`${newId()}${newId()}`),
      sessionToken: new Secret(`${newId()}${newId()}=`),
    },
    rotate() {
      workforceUser.refreshToken = new Secret(`1//lab-${newId()}${newId()}`)
      return workforceUser.refreshToken
    },
    credentials(kind, parameters = {}) {
      const file = credentialFile(world, kind, parameters)
      return file === null ? null : `${JSON.stringify(file, null, 2)}\n`
    },
  }
}

interface Place {
  readonly origin: string
  readonly sourceHeader: Secret
  readonly user: SignIn
  readonly workforceUser: SignIn
  readonly accounts: ServiceAccounts
}

type Parameters = Readonly<Record<string, string>>

function credentialFile(place: Place, kind: string, parameters: Parameters): object | null {
  const { origin } = place
  switch (kind) {
    case 'authorized_user':
      return authorizedUser(place)
    case 'external_account_authorized_user':
      return {
        type: kind,
        audience: WORKFORCE_POOL,
        ...secretsOf(place.workforceUser),
        token_url: `${origin}/v1/oauthtoken`,
        quota_project_id: PROJECT_ID,
      }
    case 'impersonated_service_account':
      return {
        type: kind,
        source_credentials: authorizedUser(place),
        ...impersonation(place, { impersonate: 'robot@demo-project.iam.gserviceaccount.com' }),
        ...impersonation(place, parameters),
        delegates: [],
        quota_project_id: PROJECT_ID,
      }
    default: {
      const source = credentialSource(place, kind, parameters)
      if (source === null) return null
      const isAws = kind === 'external_account_aws'
      return {
        type: 'external_account',
        audience: POOL,
        subject_token_type: isAws
          ? 'urn:ietf:params:aws:token-type:aws4_request'
          : 'urn:ietf:params:oauth:token-type:jwt',
        token_url: `${origin}/v1/token`,
        credential_source: source,
        ...impersonation(place, parameters),
        quota_project_id: PROJECT_ID,
      }
    }
  }
}

function credentialSource(
  { origin, sourceHeader }: Place,
  kind: string,
  { file = '', command = '' }: Parameters,
): object | null {
  const aws = `${origin}/google/aws/latest`
  switch (kind) {
    case 'external_account_file':
      return { file, format: { type: 'text' } }
    case 'external_account_url':
      return {
        url: `${origin}/google/subject-token`,
        headers: { 'x-lab-source': sourceHeader.reveal() },
        format: { type: 'json', subject_token_field_name: 'value' },
      }
    case 'external_account_executable':
      return { executable: { command, timeout_millis: 5_000 } }
    case 'external_account_aws':
      return {
        environment_id: 'aws1',
        region_url: `${aws}/meta-data/placement/availability-zone`,
        url: `${aws}/meta-data/iam/security-credentials`,
        imdsv2_session_token_url: `${aws}/api/token`,
        regional_cred_verification_url:
          'https://sts.{region}.amazonaws.com?Action=GetCallerIdentity&Version=2011-06-15',
      }
    default:
      return null
  }
}

function authorizedUser({ origin, user }: Place): object {
  return {
    type: 'authorized_user',
    ...secretsOf(user),
    token_uri: `${origin}/token`,
    quota_project_id: PROJECT_ID,
    universe_domain: 'googleapis.com',
  }
}

function secretsOf({ clientId, clientSecret, refreshToken }: SignIn): object {
  return {
    client_id: clientId,
    client_secret: clientSecret.reveal(),
    refresh_token: refreshToken.reveal(),
  }
}

/** An account that is to be impersonated exists from then on. */
function impersonation({ origin, accounts }: Place, { impersonate: email }: Parameters): object {
  if (email === undefined) return {}
  accounts.keyFile({ email, tokenUri: `${origin}/token` })
  const url = `${origin}/v1/projects/-/serviceAccounts/${email}:generateAccessToken`
  return { service_account_impersonation_url: url }
}
