import { generateKeyPairSync, type KeyObject, X509Certificate } from 'node:crypto'
import { Secret } from '../core/secret.ts'
import type { Clock } from '../system/clock.ts'
import type { Random } from '../system/random.ts'
import { selfSignedCertificate } from './self-signed.ts'

const CERTIFICATE_LIFE_MS = 90 * 86_400_000

/** Where the Azure Arc agent leaves the keys of its challenges. */
const ARC_FOLDER = '/var/opt/azcmagent/tokens'

/** The certificate of the app registration, as Entra ID knows it. */
interface RegisteredCertificate {
  readonly publicKey: KeyObject
  /** base64url of the SHA-256 over its DER. */
  readonly thumbprint: string
  /** Private key and certificate in one PEM file. */
  readonly pem: Secret
}

/** A pretend tenant with one app registration, one machine's identity, and one Azure resource. */
export interface AzureDirectory {
  readonly tenantId: string
  readonly clientId: string
  readonly clientSecret: Secret
  /** Who an identity token must be for, and of, to be believed for the app. */
  readonly federation: { readonly audience: string; readonly subject: string }
  /** What App Service puts into `IDENTITY_HEADER`. */
  readonly identityHeader: Secret
  /** The resource's static key. */
  readonly apiKey: Secret
  /** The certificate of the app; made when it is first asked for. */
  certificate(): RegisteredCertificate
  /** Leaves a new key where only the Arc agent's group can read it; returns the file's path. */
  newArcKey(): string
  /** The content of such a file; null when there is none of that name. */
  arcKey(file: string): string | null
  /** Whether this is the content of such a file; each serves once. */
  takeArcKey(content: string): boolean
  /** Gives the identities a role on the resource, or takes it away; they begin with one. */
  assignRole(isAssigned: boolean): void
  hasRole(): boolean
}

/** Makes a tenant with ids and secrets of its own. */
export function createAzureDirectory(deps: {
  readonly clock: Clock
  readonly random: Random
  readonly newId: () => string
}): AzureDirectory {
  const arcKeys = new Map<string, string>()
  let certificate: RegisteredCertificate | null = null
  let isRoleAssigned = true
  return {
    tenantId: uuid(deps.random),
    clientId: uuid(deps.random),
    // What is not form-encoded arrives as another secret.
    clientSecret: new Secret(`lab~+&=%é.${deps.newId()}`),
    federation: {
      audience: 'api://AzureADTokenExchange',
      subject: 'system:serviceaccount:lab:agent',
    },
    identityHeader: new Secret(`lab-identity-${deps.newId()}`),
    apiKey: new Secret(`lab-azure-${deps.newId()}`),
    certificate() {
      certificate ??= register(deps)
      return certificate
    },
    newArcKey() {
      const file = `${ARC_FOLDER}/${uuid(deps.random)}.key`
      arcKeys.set(file, deps.newId())
      return file
    },
    arcKey: file => arcKeys.get(file) ?? null,
    takeArcKey(content) {
      const found = [...arcKeys].find(([, key]) => key === content)
      return found !== undefined && arcKeys.delete(found[0])
    },
    assignRole(isAssigned) {
      isRoleAssigned = isAssigned
    },
    hasRole: () => isRoleAssigned,
  }
}

function register(deps: { readonly clock: Clock; readonly random: Random }): RegisteredCertificate {
  const pair = generateKeyPairSync('rsa', { modulusLength: 2_048 })
  const nowMs = deps.clock.nowMs()
  const certificate = selfSignedCertificate(pair, {
    commonName: 'OpenShell lab',
    serial: deps.random.bytes(8),
    notBeforeMs: nowMs - 3_600_000,
    notAfterMs: nowMs + CERTIFICATE_LIFE_MS,
  })
  const digest = new X509Certificate(certificate).fingerprint256.replaceAll(':', '')
  const key = pair.privateKey.export({ type: 'pkcs8', format: 'pem' }).toString()
  return {
    publicKey: pair.publicKey,
    thumbprint: Buffer.from(digest, 'hex').toString('base64url'),
    pem: new Secret(`${key}${certificate}`),
  }
}

function uuid(random: Random): string {
  const hex = Buffer.from(random.bytes(16)).toString('hex')
  return hex.replace(/^(.{8})(.{4}).(.{3}).(.{3})(.{12})$/, '$1-$2-4$3-a$4-$5')
}
