// What Copilot has learnt about the user.

import type { Response } from './response';

type Known = Record<string, unknown>;

const nameOf = (field: string) => field.replaceAll('_', ' ');

function wordsOf(value: unknown): string {
  if (Array.isArray(value)) return value.map(wordsOf).join(', ');
  return typeof value === 'object' && value !== null ? JSON.stringify(value) : String(value ?? '');
}

export function Understanding({ response }: { response: Response<'understanding_updated'> }) {
  const { message, updated_fields, current_understanding } = response;
  if (updated_fields.length === 0) return <p>{message}</p>;
  const known = { ...current_understanding, ...(current_understanding.business as object | undefined) } as Known;
  return (
    <dl className="pairs">
      {updated_fields.map((field) => (
        <div key={field}>
          <dt className="faint">{nameOf(field)}</dt>
          <dd>{wordsOf(known[field])}</dd>
        </div>
      ))}
    </dl>
  );
}
