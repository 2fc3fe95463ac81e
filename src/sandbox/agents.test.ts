import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Protocol } from '../core/route.ts'
import { prepareAgent } from './agents.ts'
import { PLACEHOLDER_KEY } from './environment.ts'

const ENVIRONMENT = { ANTHROPIC_API_KEY: PLACEHOLDER_KEY, HOME: '/home/me' }

function prepare(command: readonly string[], protocols: readonly Protocol[] = []) {
  return prepareAgent({ command, environment: ENVIRONMENT }, new Set(protocols))
}

for (const command of [
  ['codex', 'exec', 'hi'],
  ['/opt/node_modules/.bin/codex', 'exec', 'hi'],
  ['npx', '-y', '@openai/codex@latest', 'exec', 'hi'],
  ['node', '/opt/codex.js', 'exec', 'hi'],
]) {
  test(`"${command.join(' ')}" gets our provider before its own arguments`, () => {
    const prepared = prepare(command).command
    assert.deepEqual(prepared.slice(0, command.length - 2), command.slice(0, -2))
    assert.deepEqual(prepared.slice(-2), ['exec', 'hi'])
    const settings = prepared.slice(command.length - 2, -2)
    assert.ok(settings.includes('model_provider="openshell"'))
    assert.ok(settings.includes('model_providers.openshell.base_url="https://inference.local/v1"'))
    assert.ok(settings.every((word, index) => (word === '-c') === (index % 2 === 0)))
  })
}

test('Claude Code gets a token instead of a key, and no other traffic', () => {
  for (const command of [['claude'], ['npx', '@anthropic-ai/claude-code', '-p', 'hi']]) {
    const prepared = prepare(command)
    assert.deepEqual(prepared.command, command)
    assert.deepEqual(prepared.environment, {
      HOME: '/home/me',
      ANTHROPIC_AUTH_TOKEN: PLACEHOLDER_KEY,
      CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC: '1',
    })
  }
})

test('Gemini CLI signs in to Vertex AI with a key that is none', () => {
  const environment = { GEMINI_API_KEY: PLACEHOLDER_KEY, GOOGLE_GEMINI_BASE_URL: 'https://a' }
  const prepared = prepareAgent({ command: ['npx', '@google/gemini-cli'], environment }, new Set())
  assert.deepEqual(prepared.environment, {
    GOOGLE_GENAI_USE_VERTEXAI: 'true',
    GOOGLE_VERTEX_BASE_URL: 'https://inference.local',
    GOOGLE_API_KEY: PLACEHOLDER_KEY,
  })
})

const MODULES: readonly (readonly [readonly Protocol[], string])[] = [
  [['anthropic_messages', 'model_discovery'], '@ai-sdk/anthropic'],
  [['openai_chat_completions'], '@ai-sdk/openai-compatible'],
]
for (const [protocols, module] of MODULES) {
  test(`opencode speaks through ${module} where the route serves ${protocols[0]}`, () => {
    for (const command of [['opencode'], ['bash']]) {
      const { OPENCODE_CONFIG_CONTENT } = prepare(command, protocols).environment
      const settings = JSON.parse(OPENCODE_CONFIG_CONTENT ?? '')
      assert.equal(settings.model, 'openshell/inference')
      assert.equal(settings.provider.openshell.npm, module)
      assert.equal(settings.provider.openshell.options.baseURL, 'https://inference.local/v1')
    }
  })
}

test('what a person set for opencode stays', () => {
  const own = { OPENCODE_CONFIG_CONTENT: '{}' }
  const prepared = prepareAgent(
    { command: ['opencode'], environment: own },
    new Set(['anthropic_messages']),
  )
  assert.deepEqual(prepared.environment, own)
})

for (const command of [['bash', '-c', 'codex'], ['npx'], ['node', '-v'], ['@'], []]) {
  test(`"${command.join(' ')}" runs as it is`, () => {
    assert.deepEqual(prepare(command), { command, environment: ENVIRONMENT })
  })
}
