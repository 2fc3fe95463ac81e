import { generateKeyPairSync, randomBytes } from 'node:crypto'
import type { ProviderRecord } from '../../src/core/provider.ts'
import { Secret } from '../../src/core/secret.ts'
import { selfSignedCertificate } from '../../src/lab/self-signed.ts'
import { aProvider } from '../store/records.ts'

/** An RSA key made for this run. */
export const rsaPair = generateKeyPairSync('rsa', { modulusLength: 2_048 })

/** Its PKCS#8 PEM. */
export const rsaKeyPem = rsaPair.privateKey.export({ type: 'pkcs8', format: 'pem' }).toString()

/** A certificate over that key, or another. */
export function certificatePem(
  options: { readonly pair?: typeof rsaPair; readonly notAfterMs?: number } = {},
): string {
  return selfSignedCertificate(options.pair ?? rsaPair, {
    commonName: 'a test',
    serial: randomBytes(8),
    notBeforeMs: 0,
    notAfterMs: options.notAfterMs ?? Date.UTC(2040, 0),
  })
}

/** A provider of type `azure-openai` with this material and, besides an endpoint, this config. */
export function azureProvider(
  material: Readonly<Record<string, string>>,
  config: Readonly<Record<string, string>> = {},
): ProviderRecord {
  const endpoint = { AZURE_OPENAI_ENDPOINT: 'https://res.openai.azure.com' }
  return aProvider({
    type: 'azure-openai',
    name: 'my-azure',
    material: new Map(Object.entries(material).map(([key, text]) => [key, new Secret(text)])),
    config: new Map(Object.entries({ ...endpoint, ...config })),
  })
}
