import { bedrockClaudeAnswer } from './bedrock-claude.ts'
import { geminiEmbeddings } from './gemini-embeddings.ts'
import type { AnswerTranslator, Translator } from './translator.ts'
import { vertexEmbeddings } from './vertex-embeddings.ts'
import { watsonxChat } from './watsonx-chat.ts'
import { watsonxEmbeddings } from './watsonx-embeddings.ts'
import { watsonxNative } from './watsonx-native.ts'

/** Every translator, by the name that routes call it. */
export const TRANSLATORS: ReadonlyMap<string, Translator> = new Map([
  ['watsonx_chat', watsonxChat],
  ['watsonx_embeddings', watsonxEmbeddings],
  ['watsonx_native', watsonxNative],
  ['vertex_embeddings', vertexEmbeddings],
  ['gemini_embeddings', geminiEmbeddings],
])

/** Those that translate the answer alone: the body is edited in the bytes, as without them. */
export const ANSWER_TRANSLATORS: ReadonlyMap<string, AnswerTranslator> = new Map([
  ['bedrock_claude', bedrockClaudeAnswer],
])
