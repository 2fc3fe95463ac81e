import { staticKeyType } from './static-key.ts'

/** NVIDIA's hosted models (integrate.api.nvidia.com), with a static key. */
export const nvidia = staticKeyType({
  type: 'nvidia',
  aliases: [],
  displayName: 'NVIDIA',
  description: "NVIDIA's hosted models (integrate.api.nvidia.com), with a static key",
  family: 'openai',
  keyName: 'NVIDIA_API_KEY',
  baseUrlName: 'NVIDIA_BASE_URL',
  defaultBaseUrl: 'https://integrate.api.nvidia.com/v1',
  allowHeaders: ['x-model-id'],
})
