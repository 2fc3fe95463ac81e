import { staticKeyType } from './static-key.ts'

/** Open models hosted by DeepInfra, with a static key. */
export const deepinfra = staticKeyType({
  type: 'deepinfra',
  aliases: [],
  displayName: 'DeepInfra',
  description: 'Open models hosted by DeepInfra, with a static key',
  family: 'openai',
  keyName: 'DEEPINFRA_API_KEY',
  baseUrlName: 'DEEPINFRA_BASE_URL',
  defaultBaseUrl: 'https://api.deepinfra.com/v1/openai',
  allowHeaders: ['x-model-id'],
})
