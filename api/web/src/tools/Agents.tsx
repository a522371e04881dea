// Agents that were found.

import type { Response } from './response';

export function Agents({ response: { agents } }: { response: Response<'agents_found'> }) {
  return (
    <ul className="plain">
      {agents.map(({ id, name, description, in_library }) => (
        <li key={id}>
          <strong>{name}</strong>
          {in_library && <span className="faint"> · in your library</span>}
          <br />
          {description}
        </li>
      ))}
    </ul>
  );
}
