// Goal: the doctor gets through to every vendor's API in its own way: signed, translated, by key.
// Method: a real gateway over gRPC against the lab's strict vendors; no router is needed.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { startTestGateway, type TestGateway } from '../../test/support/gateway.ts'
import { oauthProvider } from '../../test/support/oauth-provider.ts'
import type { Lab } from '../lab/running-lab.ts'
import { Doctor } from '../wire/gen/openshell/doctor/v1/doctor_pb.ts'
import { OpenShell } from '../wire/gen/openshell/v1/openshell_pb.ts'

const CLAUDE = 'us.anthropic.claude-sonnet-4-5-20250929-v1:0'
const WATSONX_MODEL = 'ibm/granite-3-3-8b-instruct'

let world: TestGateway
before(async () => {
  world = await startTestGateway()
})
after(() => world[Symbol.asyncDispose]())

interface Row {
  readonly provider: Readonly<Record<string, unknown>>
  readonly model: string
  readonly outcomes: string
  /** What the probe said. */
  readonly says: RegExp
}

function rows({ azure, aws, ibm, origin }: Lab): Readonly<Record<string, Row>> {
  const sound = 'ok ok ok ok'
  const entra = {
    AZURE_OPENAI_ENDPOINT: `${origin}/azure`,
    AZURE_AUTHORITY_HOST: origin,
    AZURE_TENANT_ID: azure.tenantId,
    AZURE_CLIENT_ID: azure.clientId,
  }
  const bedrock = {
    AWS_REGION: aws.region,
    AWS_ROLE_ARN: aws.roleArn,
    AWS_ENDPOINT_URL_STS: `${origin}/aws/sts`,
    AWS_ENDPOINT_URL_BEDROCK_RUNTIME: `${origin}/bedrock`,
  }
  const iam = {
    WATSONX_URL: origin,
    IBM_IAM_URL: origin,
    WATSONX_PROJECT_ID: ibm.projectId,
  }
  const secret = { AZURE_CLIENT_SECRET: azure.clientSecret.reveal() }
  const apiKey = { IBM_CLOUD_API_KEY: ibm.apiKey.reveal() }
  const keys = {
    AWS_ACCESS_KEY_ID: aws.user.accessKeyId,
    AWS_SECRET_ACCESS_KEY: aws.user.secretAccessKey.reveal(),
  }
  return {
    azure: {
      provider: { type: 'azure', credentials: secret, config: entra },
      ...{ model: 'gpt-5.5', outcomes: sound, says: /answered 200$/ },
    },
    'azure-key': {
      provider: {
        type: 'azure',
        credentials: { AZURE_OPENAI_API_KEY: azure.apiKey.reveal() },
        config: { AZURE_OPENAI_ENDPOINT: entra.AZURE_OPENAI_ENDPOINT },
      },
      ...{ model: 'gpt-5.5', outcomes: 'ok ok skipped ok', says: /answered 200$/ },
    },
    bedrock: {
      provider: { type: 'aws-bedrock', credentials: keys, config: bedrock },
      ...{ model: CLAUDE, outcomes: sound, says: /^POST .*\/invoke answered 200$/ },
    },
    converse: {
      provider: { type: 'aws-bedrock', credentials: keys, config: bedrock },
      model: 'amazon.nova-lite-v1:0',
      ...{ outcomes: sound, says: /^POST .*\/converse answered 200$/ },
    },
    watsonx: {
      provider: { type: 'watsonx', credentials: apiKey, config: iam },
      ...{ model: WATSONX_MODEL, outcomes: sound, says: /\/text\/chat\?version=.* answered 200$/ },
    },
  }
}

test('every vendor is asked in its own way', async () => {
  for (const [name, row] of Object.entries(rows(world.lab))) {
    const provider = { metadata: { name }, ...row.provider }
    await world.call(OpenShell.method.createProvider, { provider })
    const { steps } = await world.call(Doctor.method.checkProvider, {
      provider: name,
      modelId: row.model,
    })
    const seen = JSON.stringify(steps.map(({ message, code }) => ({ message, code })))
    assert.equal(steps.map(step => step.outcome).join(' '), row.outcomes, `${name} ${seen}`)
    assert.match(steps[3]?.message ?? '', row.says)
  }
})

test('a refresh token that may be spent only once is not spent, and the token in store serves', async () => {
  const provider = oauthProvider(world.lab, 'rotating', { refreshes: true })
  await world.call(OpenShell.method.createProvider, { provider })
  const mintsBefore = world.lab.counts().mints
  const { steps } = await world.call(Doctor.method.checkProvider, {
    provider: 'rotating',
    modelId: 'gpt-5.5',
  })
  assert.equal(world.lab.counts().mints, mintsBefore)
  assert.equal(steps.map(step => step.outcome).join(' '), 'ok ok skipped ok', steps[3]?.message)
  assert.match(steps[2]?.message ?? '', /it is kept, the token in store serves$/)
})
