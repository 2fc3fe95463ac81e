import { without } from './json.ts'
import type { Translator } from './translator.ts'

/** Members that the route says itself; an agent must not choose whose project pays. */
const ADDRESS = ['model_id', 'project_id', 'space_id']

/** watsonx.ai's own requests: the route's model and payer for the agent's, and nothing else. */
export const watsonxNative: Translator = (body, { options }) => ({
  isStream: false,
  body: { ...without(body, ADDRESS), ...Object.fromEntries(options) },
  answer: null,
})
