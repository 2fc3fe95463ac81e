import { TOOL_PROFILES } from './builtin-profiles.ts'
import type { ProfileDocument } from './profile-document.ts'
import { profileType } from './profile-type.ts'
import type { ProviderType } from './provider-type.ts'

/** Types of OpenShell that have no profile of their own: what a sandbox gets is all there is to them. */
const UNDESCRIBED: readonly ProfileDocument[] = [
  {
    ...{ id: 'gitlab', display_name: 'GitLab', description: "GitLab's API and Git" },
    category: 'source_control',
    credentials: [
      {
        name: 'api_token',
        description: 'GitLab token',
        env_vars: ['GITLAB_TOKEN', 'GLAB_TOKEN', 'CI_JOB_TOKEN'],
      },
    ],
    discovery: { credentials: ['api_token'] },
  },
  {
    ...{ id: 'opencode', display_name: 'opencode', description: 'The opencode agent' },
    category: 'agent',
    credentials: [
      {
        name: 'api_key',
        description: 'Key of the model API that opencode uses',
        env_vars: ['OPENCODE_API_KEY', 'OPENROUTER_API_KEY', 'OPENAI_API_KEY'],
      },
    ],
    discovery: { credentials: ['api_key'] },
  },
  {
    ...{ id: 'outlook', display_name: 'Outlook', description: 'Microsoft Outlook' },
    category: 'messaging',
  },
]

const ALIASES: Readonly<Record<string, readonly string[]>> = {
  'claude-code': ['claude', 'claude_code'],
  'google-cloud': ['gcp'],
  github: ['gh'],
  gitlab: ['glab'],
}

/** Profiles of the types whose credentials go into sandboxes alone. */
export const toolProfiles: readonly ProfileDocument[] = [...TOOL_PROFILES, ...UNDESCRIBED]

/** Types whose credentials go into sandboxes alone. */
export const toolTypes: readonly ProviderType[] = toolProfiles.map(profile =>
  profileType(
    {
      id: profile.id,
      displayName: profile.display_name,
      description: profile.description,
      credentials: (profile.credentials ?? []).map(one => ({
        description: one.description,
        envVars: one.env_vars,
      })),
    },
    { aliases: ALIASES[profile.id] ?? [], hasRoute: false },
  ),
)
