import { elementsOf, isObject, type JsonObject } from './json.ts'

/** The members of each message that Vertex AI knows; what the Gemini API has besides, it refuses. */
const REQUEST = [
  ...['contents', 'systemInstruction', 'tools', 'toolConfig', 'safetySettings'],
  ...['generationConfig', 'labels', 'cachedContent', 'serviceTier', 'modelArmorConfig'],
]
const COUNT = ['contents', 'systemInstruction', 'tools', 'generationConfig', 'instances']
const CONTENT = ['role', 'parts']
const DATA = [
  ...['text', 'inlineData', 'fileData', 'functionCall', 'functionResponse', 'executableCode'],
  'codeExecutionResult',
]
const PART = [...DATA, 'thought', 'thoughtSignature', 'videoMetadata', 'mediaResolution']
const TOOL = [
  ...['functionDeclarations', 'googleSearch', 'googleSearchRetrieval', 'codeExecution'],
  ...['urlContext', 'retrieval', 'enterpriseWebSearch', 'googleMaps', 'computerUse'],
]
const TOOL_CONFIG = ['functionCallingConfig', 'retrievalConfig']
const GENERATION = [
  ...['temperature', 'topP', 'topK', 'candidateCount', 'maxOutputTokens', 'stopSequences'],
  ...['responseMimeType', 'responseSchema', 'responseJsonSchema', 'responseModalities', 'seed'],
  ...['presencePenalty', 'frequencyPenalty', 'responseLogprobs', 'logprobs', 'thinkingConfig'],
  ...['mediaResolution', 'speechConfig', 'audioTimestamp', 'routingConfig', 'imageConfig'],
]

/** Why Vertex AI would refuse the body of such a call, in its words; null when it would not. */
export function geminiProblem(
  body: JsonObject,
  { isCount }: { readonly isCount: boolean },
): string | null {
  const { systemInstruction, system_instruction: instruction = systemInstruction } = body
  return (
    unknownIn(body, isCount ? COUNT : REQUEST, '') ??
    contentsProblem(body.contents) ??
    (instruction === undefined ? null : contentProblem(instruction, 'system_instruction')) ??
    listProblem(body.tools, TOOL, 'tools') ??
    unknownIn(body.toolConfig ?? body.tool_config, TOOL_CONFIG, 'tool_config') ??
    unknownIn(body.generationConfig ?? body.generation_config, GENERATION, 'generation_config')
  )
}

function contentsProblem(contents: unknown): string | null {
  if (elementsOf(contents).length === 0) return 'contents is not specified'
  for (const [at, content] of elementsOf(contents).entries()) {
    const problem = contentProblem(content, `contents[${at}]`)
    if (problem !== null) return problem
    const { role } = isObject(content) ? content : {}
    if (role !== 'user' && role !== 'model') return 'Please use a valid role: user, model.'
  }
  return null
}

function contentProblem(content: unknown, at: string): string | null {
  if (!isObject(content)) return `Invalid value at '${at}' (type.googleapis.com/Content)`
  const parts = elementsOf(content.parts)
  if (parts.length === 0) return `Unable to submit request because ${at} must have parts`
  const problem = unknownIn(content, CONTENT, at) ?? listProblem(parts, PART, `${at}.parts`)
  if (problem !== null) return problem
  const isEmpty = parts.some(part => isObject(part) && !Object.keys(part).some(isData))
  return isEmpty ? "required oneof field 'data' must have one initialized field" : null
}

function isData(name: string): boolean {
  return DATA.includes(camelCase(name))
}

function listProblem(list: unknown, known: readonly string[], at: string): string | null {
  for (const [index, one] of elementsOf(list).entries()) {
    const problem = unknownIn(one, known, `${at}[${index}]`)
    if (problem !== null) return problem
  }
  return null
}

/** Protobuf's JSON takes each name in two spellings, and no other name. */
function unknownIn(value: unknown, known: readonly string[], at: string): string | null {
  if (!isObject(value)) return null
  const name = Object.keys(value).find(one => !known.includes(camelCase(one)))
  if (name === undefined) return null
  const where = at === '' ? '' : ` at '${at}'`
  return `Invalid JSON payload received. Unknown name "${name}"${where}: Cannot find field.`
}

function camelCase(name: string): string {
  return name.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase())
}
