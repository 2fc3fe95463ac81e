import { staticKeyType } from './static-key.ts'

/** OpenAI's own API, with a static key. */
export const openai = staticKeyType({
  type: 'openai',
  aliases: [],
  displayName: 'OpenAI',
  description: "OpenAI's own API, with a static key",
  family: 'openai',
  keyName: 'OPENAI_API_KEY',
  baseUrlName: 'OPENAI_BASE_URL',
  defaultBaseUrl: 'https://api.openai.com/v1',
  allowHeaders: ['openai-organization', 'openai-project', 'openai-beta', 'x-model-id'],
})
