import { type Answer, type Call, jsonAnswer } from './call.ts'
import { vectorOf } from './embeddings.ts'
import { elementsOf, isObject, type JsonObject } from './json.ts'
import { tokenCount } from './reply.ts'
import { readJsonBody } from './strict.ts'

const DIMENSIONS = 16
const TASK_TYPES: readonly unknown[] = [
  ...['RETRIEVAL_QUERY', 'RETRIEVAL_DOCUMENT', 'SEMANTIC_SIMILARITY', 'CLASSIFICATION'],
  ...['CLUSTERING', 'QUESTION_ANSWERING', 'FACT_VERIFICATION', 'CODE_RETRIEVAL_QUERY'],
]

/** Answers the embedding models of Vertex AI, which take `:predict` and nothing like OpenAI. */
export function answerPredict(
  call: Call,
  options: {
    readonly model: string
    readonly refuse: (status: number, message: string) => Answer
  },
): Answer {
  const { model, refuse } = options
  if (!/^(text|gemini|text-multilingual)-embedding/.test(model))
    return refuse(404, `Publisher Model \`${model}\` was not found`)
  const body = readJsonBody(call)
  if (typeof body === 'string') return refuse(400, body)
  const problem = predictProblem(body, model)
  if (problem !== null) return refuse(400, problem)
  const parameters = isObject(body.parameters) ? body.parameters : {}
  const dimensions = Number(parameters.outputDimensionality ?? DIMENSIONS)
  const predictions = elementsOf(body.instances)
    .filter(isObject)
    .map(({ content }) => {
      const text = String(content)
      const statistics = { truncated: false, token_count: tokenCount(text.length) }
      return { embeddings: { statistics, values: [...vectorOf(text, dimensions)] } }
    })
  return jsonAnswer(200, {
    predictions,
    metadata: { billableCharacterCount: call.body.byteLength },
  })
}

function predictProblem(body: JsonObject, model: string): string | null {
  const unknown = Object.keys(body).find(name => name !== 'instances' && name !== 'parameters')
  if (unknown !== undefined) return `Unknown name "${unknown}": Cannot find field.`
  const instances = elementsOf(body.instances)
  const most = model.startsWith('gemini-') ? 1 : 250
  if (instances.length === 0 || instances.length > most)
    return `${model} takes 1 to ${most} instances`
  for (const instance of instances) {
    if (!isObject(instance) || typeof instance.content !== 'string')
      return 'Each instance needs a content'
    const { content: _, task_type: task, title: __, ...rest } = instance
    if (Object.keys(rest).length > 0) return 'Unknown members in an instance'
    if (task !== undefined && !TASK_TYPES.includes(task)) return `Unknown task_type ${task}`
  }
  return null
}
