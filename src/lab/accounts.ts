import { generateKeyPair, type KeyObject } from 'node:crypto'
import { promisify } from 'node:util'
import type { Random } from '../system/random.ts'

const PROJECT_ID = 'demo-project'

/** The account whose key the lab hands out unless another is named. */
const DEFAULT_EMAIL = `lab-agent@${PROJECT_ID}.iam.gserviceaccount.com`

/** A pretend Google service account. */
export interface ServiceAccount {
  readonly email: string
  /** What the JWT header calls `kid`. */
  readonly keyId: string
  readonly isDisabled: boolean
}

/** The service accounts that the lab knows; they share the lab's one RSA key pair. */
export interface ServiceAccounts {
  readonly publicKey: KeyObject
  find(email: string): ServiceAccount | null
  /** The account's key file, as Google writes it; an account not yet known is created. */
  keyFile(options: { readonly email?: string; readonly tokenUri: string }): string
  /** Disables an account; false when there is none. Tokens that it has are not touched. */
  disable(email: string): boolean
}

/** Generates the key pair, which takes up to a second, and starts without any account. */
export async function createServiceAccounts(random: Random): Promise<ServiceAccounts> {
  const keyPair = await promisify(generateKeyPair)('rsa', { modulusLength: 2_048 })
  const privateKey = keyPair.privateKey.export({ type: 'pkcs8', format: 'pem' }).toString()
  const accounts = new Map<string, ServiceAccount>()

  const findOrCreate = (email: string): ServiceAccount => {
    const keyId = Buffer.from(random.bytes(20)).toString('hex')
    const account = accounts.get(email) ?? { email, keyId, isDisabled: false }
    accounts.set(email, account)
    return account
  }

  return {
    publicKey: keyPair.publicKey,
    find: email => accounts.get(email) ?? null,
    keyFile({ email = DEFAULT_EMAIL, tokenUri }) {
      const account = findOrCreate(email)
      const { origin } = new URL(tokenUri)
      const keyFile = {
        type: 'service_account',
        project_id: PROJECT_ID,
        private_key_id: account.keyId,
        private_key: privateKey,
        client_email: email,
        client_id: '100000000000000000001',
        auth_uri: `${origin}/o/oauth2/auth`,
        token_uri: tokenUri,
        auth_provider_x509_cert_url: `${origin}/oauth2/v1/certs`,
        client_x509_cert_url: `${origin}/robot/v1/metadata/x509/${encodeURIComponent(email)}`,
        universe_domain: 'googleapis.com',
      }
      return `${JSON.stringify(keyFile, null, 2)}\n`
    },
    disable(email) {
      const account = accounts.get(email)
      if (account === undefined) return false
      accounts.set(email, { ...account, isDisabled: true })
      return true
    },
  }
}
