import assert from 'node:assert/strict'
import OpenAI from 'openai'
import type { OauthClientOptions } from '../../src/lab/oauth-clients.ts'
import type { Lab } from '../../src/lab/running-lab.ts'
import { Inference } from '../../src/wire/gen/openshell/inference/v1/inference_pb.ts'
import { OpenShell } from '../../src/wire/gen/openshell/v1/openshell_pb.ts'
import type { TestGateway } from './gateway.ts'

const { method } = OpenShell

/** What `provider add` sends for a client that was just registered at the lab. */
export function oauthProvider(
  lab: Lab,
  name: string,
  more: OauthClientOptions & {
    readonly refreshes?: boolean
    readonly config?: Readonly<Record<string, string>>
  } = {},
) {
  const { method: chosen = 'basic', refreshes = false, config = {} } = more
  const client = lab.registerOauthClient(more)
  const hasSecret = ['basic', 'basic_raw', 'post'].includes(chosen)
  return {
    metadata: { name },
    type: 'oauth2',
    credentials: {
      ...(hasSecret ? { OAUTH2_CLIENT_SECRET: client.clientSecret.reveal() } : {}),
      ...(chosen === 'private_key_jwt' ? { OAUTH2_PRIVATE_KEY: client.privateKey.reveal() } : {}),
      ...(refreshes ? { OAUTH2_REFRESH_TOKEN: client.refreshToken.reveal() } : {}),
    },
    config: {
      OAUTH2_TOKEN_URL: `${lab.origin}/oauth2/token`,
      OAUTH2_CLIENT_ID: client.clientId,
      OAUTH2_CLIENT_AUTH: chosen,
      OAUTH2_BASE_URL: `${lab.origin}/oauth2/openai/v1`,
      ...config,
    },
  }
}

/** Sets the agents' route. */
export async function serve(world: TestGateway, providerName: string, modelId: string) {
  await world.call(Inference.method.setInferenceRoute, { providerName, modelId })
}

/** The status of a provider's one credential. */
export async function statusOf(world: TestGateway, provider: string) {
  const { credentials } = await world.call(method.getProviderRefreshStatus, { provider })
  const [status] = credentials
  assert.ok(status !== undefined)
  return status
}

/** An unstreamed and a streamed answer for the official client of OpenAI. */
export async function askOpenai(baseUrl: string): Promise<void> {
  const client = new OpenAI({ apiKey: 'placeholder', baseURL: `${baseUrl}/v1`, maxRetries: 0 })
  const request = { model: 'any', messages: [{ role: 'user' as const, content: 'hi' }] }
  const whole = await client.chat.completions.create(request)
  assert.ok((whole.choices[0]?.message.content ?? '').length > 0)
  const stream = await client.chat.completions.create({ ...request, stream: true })
  let text = ''
  for await (const chunk of stream) text += chunk.choices[0]?.delta.content ?? ''
  assert.ok(text.length > 0)
}
