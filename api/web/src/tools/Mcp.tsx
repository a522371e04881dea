// Tools of servers elsewhere.

import { Json } from './Json';
import type { Response } from './response';

export function McpTools({ response: { tools, server_url } }: { response: Response<'mcp_tools_discovered'> }) {
  return (
    <>
      <p className="faint">{server_url}</p>
      <ul className="plain">
        {tools.map(({ name, description }) => (
          <li key={name}>
            <strong>{name}</strong>
            <br />
            {description}
          </li>
        ))}
      </ul>
    </>
  );
}

export function McpOutput({ response: { tool_name, server_url, result } }: { response: Response<'mcp_tool_output'> }) {
  return (
    <>
      <p>
        <strong>{tool_name}</strong> <span className="faint">{server_url}</span>
      </p>
      <Json value={result} />
    </>
  );
}
