// The agent of run.mjs: AWS's own client and Anthropic's for Bedrock, with keys that mean nothing.
import assert from 'node:assert/strict'
import https from 'node:https'
import { AnthropicBedrock } from '@anthropic-ai/bedrock-sdk'
import {
  BedrockRuntimeClient,
  ConverseCommand,
  ConverseStreamCommand,
  InvokeModelCommand,
  InvokeModelWithResponseStreamCommand,
} from '@aws-sdk/client-bedrock-runtime'
import { NodeHttpHandler } from '@smithy/node-http-handler'

const endpoint = 'https://inference.local'
const placeholder = 'openshell-placeholder'
const region = 'us-east-1'
// Not the operator's model: the router puts theirs in its place.
const modelId = 'anthropic.claude-any-v1:0'

const aws = new BedrockRuntimeClient({
  region,
  endpoint,
  credentials: { accessKeyId: placeholder, secretAccessKey: placeholder },
  maxAttempts: 1,
  // The client's own handler speaks HTTP/2 and knows no proxy.
  requestHandler: new NodeHttpHandler({
    httpsAgent: new https.Agent({ keepAlive: true, proxyEnv: process.env }),
  }),
})
const messages = [{ role: 'user', content: [{ text: 'hello' }] }]
const invocation = {
  modelId,
  contentType: 'application/json',
  accept: 'application/json',
  body: JSON.stringify({
    anthropic_version: 'bedrock-2023-05-31',
    max_tokens: 64,
    messages: [{ role: 'user', content: 'hello' }],
  }),
}
const SAID = /You said: hello/

/** Each question by name; its answer's words. */
const questions = {
  async converse() {
    const { output } = await aws.send(new ConverseCommand({ modelId, messages }))
    return output.message.content[0].text
  },
  async converseStream() {
    const { stream } = await aws.send(new ConverseStreamCommand({ modelId, messages }))
    const events = await Array.fromAsync(stream)
    assert.ok(events.at(-1).metadata.usage.totalTokens > 0)
    return events.map(event => event.contentBlockDelta?.delta.text ?? '').join('')
  },
  async invokeModel() {
    const { body } = await aws.send(new InvokeModelCommand(invocation))
    return JSON.parse(body.transformToString()).content[0].text
  },
  async invokeModelWithResponseStream() {
    const command = new InvokeModelWithResponseStreamCommand(invocation)
    const { body } = await aws.send(command)
    const chunks = await Array.fromAsync(body)
    const events = chunks.map(({ chunk }) => JSON.parse(Buffer.from(chunk.bytes).toString()))
    assert.equal(events.at(-1).type, 'message_stop')
    return events.map(event => event.delta?.text ?? '').join('')
  },
  async anthropicForBedrock() {
    const anthropic = new AnthropicBedrock({
      ...{ baseURL: endpoint, awsRegion: region, maxRetries: 0 },
      ...{ awsAccessKey: placeholder, awsSecretKey: placeholder },
    })
    const question = { ...JSON.parse(invocation.body), model: modelId }
    const whole = await anthropic.messages.create(question)
    assert.match(whole.content[0].text, SAID)
    const streamed = await anthropic.messages.stream(question).finalMessage()
    return streamed.content[0].text
  },
}

for (const [name, ask] of Object.entries(questions)) {
  assert.match(await ask(), SAID, name)
  process.stdout.write(`${name} answered\n`)
}
// A refusal must reach the client as the exception that AWS names.
await assert.rejects(aws.send(new InvokeModelCommand({ ...invocation, body: '{}' })), {
  name: 'ValidationException',
})
process.stdout.write('a refusal is ValidationException\n')
