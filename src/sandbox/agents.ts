import path from 'node:path'
import type { Protocol } from '../core/route.ts'
import { type Environment, PLACEHOLDER_KEY } from './environment.ts'

/** A program and its arguments, and the environment that it gets. */
export interface AgentCommand {
  readonly command: readonly string[]
  readonly environment: Environment
}

/** Programs that run the one named behind them, past their own flags. */
const RUNNERS: ReadonlySet<string> = new Set(['npx', 'bunx', 'node', 'bun'])

/** The id of ours in the settings of agents that name their providers. */
const PROVIDER = 'openshell'
/** Any model will do: the router puts the route's in its place. */
const MODEL = 'inference'

/**
 * Prepares an agent whose settings the usual variables do not reach, so that it needs no flags.
 * `protocols` is what the agents' route serves; an empty list when it is not known yet. Settings that
 * a person made stay. What is set for which agent, `docs/agents.md` says.
 */
export function prepareAgent(
  { command, environment }: AgentCommand,
  protocols: ReadonlySet<Protocol>,
): AgentCommand {
  const settings = { ...opencodeSettings(protocols), ...environment }
  const place = programPlace(command)
  switch (programName(command[place] ?? '')) {
    case 'claude':
    case 'claude-code':
      return { command, environment: claudeEnvironment(settings) }
    case 'gemini':
    case 'gemini-cli':
      return { command, environment: geminiEnvironment(settings) }
    case 'codex':
      return {
        command: command.toSpliced(place + 1, 0, ...CODEX_SETTINGS),
        environment: settings,
      }
    default:
      return { command, environment: settings }
  }
}

/**
 * With a key, a new installation of Claude Code wants to reach Anthropic before its first word; a token
 * is taken as it is. Its other traffic would end at the router's 403.
 */
function claudeEnvironment(environment: Environment): Environment {
  const { ANTHROPIC_API_KEY: _, ...others } = environment
  return {
    CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC: '1',
    ...others,
    ANTHROPIC_AUTH_TOKEN: PLACEHOLDER_KEY,
  }
}

/**
 * Gemini CLI takes no way of signing in for granted, and refuses the one that it derives from
 * `GOOGLE_GEMINI_BASE_URL`. Vertex AI with a key is one that the environment alone can choose.
 */
function geminiEnvironment(environment: Environment): Environment {
  const { GEMINI_API_KEY: _, GOOGLE_GEMINI_BASE_URL: __, ...others } = environment
  return {
    ...others,
    GOOGLE_GENAI_USE_VERTEXAI: 'true',
    GOOGLE_VERTEX_BASE_URL: 'https://inference.local',
    GOOGLE_API_KEY: PLACEHOLDER_KEY,
  }
}

/**
 * Codex reads its base URL from its own settings alone. A provider of our own also asks for no
 * sign-in, and tries no WebSocket. Arguments that a person gave come later, and win.
 */
const CODEX_SETTINGS: readonly string[] = Object.entries({
  model_provider: PROVIDER,
  [`model_providers.${PROVIDER}.name`]: 'OpenShell',
  [`model_providers.${PROVIDER}.base_url`]: 'https://inference.local/v1',
  [`model_providers.${PROVIDER}.env_key`]: 'OPENAI_API_KEY',
  [`model_providers.${PROVIDER}.wire_api`]: 'responses',
}).flatMap(([key, value]) => ['-c', `${key}=${JSON.stringify(value)}`])

/** opencode joins this with the settings in its files. */
function opencodeSettings(protocols: ReadonlySet<Protocol>): Environment {
  const isClaude = protocols.has('anthropic_messages')
  if (!isClaude && !protocols.has('openai_chat_completions')) return {}
  const provider = {
    npm: isClaude ? '@ai-sdk/anthropic' : '@ai-sdk/openai-compatible',
    name: 'OpenShell',
    options: { baseURL: 'https://inference.local/v1', apiKey: PLACEHOLDER_KEY },
    models: { [MODEL]: { name: 'inference.local' } },
  }
  const model = `${PROVIDER}/${MODEL}`
  const settings = { model, small_model: model, provider: { [PROVIDER]: provider } }
  return { OPENCODE_CONFIG_CONTENT: JSON.stringify(settings) }
}

/** Where the agent stands in a command, behind a program that only runs it. */
function programPlace(command: readonly string[]): number {
  if (!RUNNERS.has(programName(command[0] ?? ''))) return 0
  const behind = command.findIndex((word, index) => index > 0 && !word.startsWith('-'))
  return Math.max(behind, 0)
}

/** `/usr/bin/codex`, `codex.js` and `@openai/codex@latest` are all `codex`. */
function programName(word: string): string {
  return path.basename(word).replace(/(?<=.)@.*$|\.(js|mjs|exe|cmd)$/, '')
}
