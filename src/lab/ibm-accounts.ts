import { Secret } from '../core/secret.ts'
import type { Clock } from '../system/clock.ts'
import type { IdentityOptions } from './identity-issuer.ts'
import type { Issue } from './tokens.ts'

/** What a person has at the pretend IBM: everything that a provider may be told. */
export interface IbmAccount {
  /** Of IBM Cloud, and of the console of the SaaS on AWS. */
  readonly apiKey: Secret
  readonly projectId: string
  readonly spaceId: string
  readonly deploymentId: string
  readonly profileId: string
  readonly profileName: string
  /** Of Software Hub. */
  readonly username: string
  readonly password: Secret
  readonly userApiKey: Secret
}

/** What a provider of type `watsonx` is told, for each of its sources. */
export function ibmSettings({
  origin,
  ibm,
  identityToken,
}: {
  readonly origin: string
  readonly ibm: IbmAccount
  readonly identityToken: (options: IdentityOptions) => Secret
}): Readonly<Record<string, string>> {
  return {
    IBM_CLOUD_API_KEY: ibm.apiKey.reveal(),
    WATSONX_URL: origin,
    IBM_IAM_URL: origin,
    IBM_VPC_METADATA_URL: origin,
    WATSONX_PROJECT_ID: ibm.projectId,
    WATSONX_SPACE_ID: ibm.spaceId,
    DEPLOYMENT_ID: ibm.deploymentId,
    IBM_PROFILE_ID: ibm.profileId,
    IBM_PROFILE_NAME: ibm.profileName,
    IBM_CR_TOKEN: identityToken({ audience: CR_TOKEN_AUDIENCE }).reveal(),
    WATSONX_USERNAME: ibm.username,
    WATSONX_PASSWORD: ibm.password.reveal(),
    WATSONX_USER_API_KEY: ibm.userApiKey.reveal(),
  }
}

/** Whom a compute resource's token is shown to. */
export const CR_TOKEN_AUDIENCE = 'iam'

/** Makes the account; its secrets die with the lab. */
export function createIbmAccount(newId: () => string): IbmAccount {
  const uuid = () =>
    Buffer.from(newId())
      .toString('hex')
      .replace(/^(.{8})(.{4})(.{4})(.{4})(.{12}).*$/, '$1-$2-$3-$4-$5')
  return {
    apiKey: new Secret(`lab-ibm-${newId()}`),
    projectId: uuid(),
    spaceId: uuid(),
    deploymentId: uuid(),
    profileId: `Profile-${uuid()}`,
    profileName: 'lab-agents',
    username: 'lab-user',
    password: new Secret(`lab-password-${newId()}`),
    userApiKey: new Secret(`lab-user-key-${newId()}`),
  }
}

/** What is said of a token of IBM's, which is a JWT that tells its life. */
export function ibmIssue(
  deps: { readonly clock: Clock; readonly tokenLifetimeMs: number },
  subject: string,
): Issue {
  const iat = Math.floor(deps.clock.nowMs() / 1_000)
  const exp = iat + Math.floor(deps.tokenLifetimeMs / 1_000)
  const encode = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url')
  const header = encode({ kid: 'lab', alg: 'RS256' })
  const claims = encode({ iam_id: subject, sub: subject, account: { bss: 'lab' }, iat, exp })
  return {
    realm: 'ibm',
    subject,
    lifetimeMs: deps.tokenLifetimeMs,
    prefix: `${header}.${claims}.`,
    randomBytes: 256,
  }
}
