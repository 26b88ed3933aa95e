"use strict";
// Starts the viewer of the OpenAPI document, dark where the reader's system is.
{
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const follow = () => document.documentElement.classList.toggle("dark-mode", dark.matches);
  dark.addEventListener("change", follow);
  follow();
  // The token of this tab, as the pages of models keep it; the viewer's own dialog comes first.
  const requestInterceptor = (request) => {
    let token = null;
    try {
      token = sessionStorage.getItem("token");
    } catch {
      // the browser keeps nothing
    }
    const names = Object.keys(request.headers).map((name) => name.toLowerCase());
    if (token && !names.includes("authorization") && !names.includes("x-api-key")) {
      request.headers.authorization = `Bearer ${token}`;
    }
    return request;
  };
  SwaggerUIBundle({
    url: "openapi.json",
    dom_id: "#viewer",
    deepLinking: true,
    validatorUrl: null,
    docExpansion: "list",
    requestInterceptor,
  });
}
