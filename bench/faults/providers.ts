import { writeFileSync } from 'node:fs'
import path from 'node:path'
import type { OauthClientOptions } from '../../src/lab/oauth-clients.ts'
import type { Lab } from '../../src/lab/running-lab.ts'
import type { World } from './world.ts'

/** Where a provider is added. */
interface Place {
  readonly world: World
  /** The lab of `world`, unless it has several. */
  readonly lab?: Lab
  readonly name: string
  readonly workspace?: string
}

/** A provider of type `google-vertex-ai` with a service account of that address. */
export async function addServiceAccount(place: Place, email: string): Promise<void> {
  const { world, lab = world.vendor.lab, name } = place
  const keyFile = path.join(world.place.folder, `${name}.json`)
  writeFileSync(keyFile, lab.serviceAccountKey({ email }), { mode: 0o600 })
  await add(place, 'vertex', {
    files: { GOOGLE_SERVICE_ACCOUNT_JSON: keyFile },
    config: { VERTEX_BASE_URL: `${lab.origin}/v1/projects/demo-project/locations/us-east1` },
  })
}

/** A provider of type `azure-openai` with the secret or the certificate of an application. */
export async function addApplication(place: Place, by: 'secret' | 'certificate'): Promise<void> {
  const { azure, origin } = place.lab ?? place.world.vendor.lab
  await add(place, 'azure-openai', {
    secrets:
      by === 'secret'
        ? { AZURE_CLIENT_SECRET: azure.clientSecret.reveal() }
        : { AZURE_CLIENT_CERTIFICATE: azure.certificate().pem.reveal() },
    config: {
      AZURE_AUTHORITY_HOST: origin,
      AZURE_TENANT_ID: azure.tenantId,
      AZURE_CLIENT_ID: azure.clientId,
      AZURE_OPENAI_ENDPOINT: `${origin}/azure`,
    },
  })
}

/** A provider of type `oauth2` for a client that is registered now; answers the client's id. */
export async function addClient(
  place: Place,
  options: OauthClientOptions & { readonly hasRefreshToken?: boolean } = {},
): Promise<string> {
  const { origin } = place.world.vendor.lab
  const client = newClient(place.world.vendor.lab, options)
  const method = options.method ?? 'post'
  await add(place, 'oauth2', {
    secrets: client.secrets,
    config: {
      ...client.config,
      OAUTH2_TOKEN_URL: `${origin}/oauth2/token`,
      OAUTH2_BASE_URL: `${origin}/oauth2/openai/v1`,
      OAUTH2_CLIENT_AUTH: method,
    },
  })
  return client.config.OAUTH2_CLIENT_ID
}

/** Gives a provider of type `oauth2` a new client, as a person does who signs in again. */
export async function signInAgain(place: Place, options: OauthClientOptions): Promise<string> {
  const { world, name } = place
  const client = newClient(world.vendor.lab, { ...options, hasRefreshToken: true })
  const workspace = ['--workspace', place.workspace ?? 'default']
  const flags = flagsOf({ secrets: client.secrets, config: client.config })
  await world.command(['provider', 'update', ...workspace, name, ...flags], client.secrets)
  return client.config.OAUTH2_CLIENT_ID
}

/** Sets a workspace's route. */
export async function setRoute(place: Place, model: string): Promise<void> {
  const workspace = ['--workspace', place.workspace ?? 'default']
  const route = ['--provider', place.name, '--model', model]
  await place.world.command(['inference', 'set', ...workspace, ...route])
}

interface Parts {
  readonly secrets?: Readonly<Record<string, string>>
  readonly files?: Readonly<Record<string, string>>
  readonly config: Readonly<Record<string, string>>
}

async function add({ world, name, workspace = 'default' }: Place, type: string, parts: Parts) {
  const place = ['--workspace', workspace, '--type', type, '--name', name]
  await world.command(['provider', 'add', ...place, ...flagsOf(parts)], parts.secrets)
}

/** Secrets go by the environment, as the documentation advises. */
function flagsOf({ secrets = {}, files = {}, config }: Parts): readonly string[] {
  return [
    ...Object.keys(secrets).flatMap(key => ['--credential', key]),
    ...Object.entries(files).flatMap(([key, file]) => ['--credential-file', `${key}=${file}`]),
    ...Object.entries(config).flatMap(([key, value]) => ['--config', `${key}=${value}`]),
  ]
}

function newClient(lab: Lab, options: OauthClientOptions & { readonly hasRefreshToken?: boolean }) {
  const { hasRefreshToken = false, method = 'post', ...more } = options
  const client = lab.registerOauthClient({ ...more, method })
  const isKey = method === 'private_key_jwt'
  return {
    config: { OAUTH2_CLIENT_ID: client.clientId },
    secrets: {
      ...(isKey
        ? { OAUTH2_PRIVATE_KEY: client.privateKey.reveal() }
        : { OAUTH2_CLIENT_SECRET: client.clientSecret.reveal() }),
      ...(hasRefreshToken ? { OAUTH2_REFRESH_TOKEN: client.refreshToken.reveal() } : {}),
    },
  }
}
