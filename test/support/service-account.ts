import { generateKeyPairSync } from 'node:crypto'
import type { ProviderRecord } from '../../src/core/provider.ts'
import { Secret } from '../../src/core/secret.ts'
import { aProvider } from '../store/records.ts'

const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2_048 })

/** PKCS#8 PEM of a key made for this run; one for all tests of a file, for making one takes a while. */
export const privateKeyPem = privateKey.export({ type: 'pkcs8', format: 'pem' }).toString()

/** The text of a service account's key file; `undefined` takes a field away. */
export function keyFile(fields: Readonly<Record<string, unknown>> = {}): string {
  return JSON.stringify({
    type: 'service_account',
    project_id: 'test-project',
    private_key_id: 'key-1',
    private_key: privateKeyPem,
    client_email: 'robot@test-project.iam.gserviceaccount.com',
    token_uri: 'https://oauth2.googleapis.com/token',
    universe_domain: 'googleapis.com',
    ...fields,
  })
}

/** A provider of type `google-vertex-ai` with such a key file. */
export function vertexProvider(
  content: Partial<ProviderRecord> = {},
  fields: Readonly<Record<string, unknown>> = {},
): ProviderRecord {
  return aProvider({
    material: new Map([['GOOGLE_SERVICE_ACCOUNT_JSON', new Secret(keyFile(fields))]]),
    ...content,
  })
}
