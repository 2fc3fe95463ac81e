import { staticKeyType } from './static-key.ts'

/** Anthropic's own API, with a static key. */
export const anthropic = staticKeyType({
  type: 'anthropic',
  aliases: [],
  displayName: 'Anthropic',
  description: "Anthropic's own API, with a static key",
  family: 'anthropic',
  keyName: 'ANTHROPIC_API_KEY',
  baseUrlName: 'ANTHROPIC_BASE_URL',
  defaultBaseUrl: 'https://api.anthropic.com/v1',
  allowHeaders: [],
})
